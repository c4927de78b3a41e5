use super::{accepted, parse, post, refusal};
use crate::http1::{HeadError, RequestHead};
use crate::limits::HEAD_FIELDS_MAX;

#[test]
fn a_folded_field_is_refused() {
    for lines in [
        "A: b\r\n c",
        "A: b\r\n\tc",
        "A:\r\n b",
        "A: b\r\n ",
        "Transfer-Encoding:\r\n chunked",
    ] {
        assert_eq!(refusal(post(lines)), HeadError::FoldedField, "{lines:?}");
        assert_eq!(
            RequestHead::parse(post(lines).as_bytes()).unwrap_err(),
            HeadError::FoldedField
        );
    }
    assert_eq!(
        refusal("GET / HTTP/1.1\r\n Host: a\r\n\r\n"),
        HeadError::FoldedField
    );
}

#[test]
fn a_space_before_the_colon_is_refused() {
    for lines in [
        "A : b",
        "A\t: b",
        "Content-Length : 5",
        "Transfer-Encoding : chunked",
        "A  \t : b",
    ] {
        assert_eq!(
            refusal(post(lines)),
            HeadError::SpaceBeforeColon,
            "{lines:?}"
        );
    }
}

#[test]
fn a_field_without_a_name_is_refused() {
    for lines in [": b", ":", ":: b"] {
        assert_eq!(refusal(post(lines)), HeadError::EmptyFieldName, "{lines:?}");
        let alone = RequestHead::parse(post(lines).as_bytes()).unwrap_err();
        assert_eq!(alone, HeadError::EmptyFieldName);
    }
}

#[test]
fn a_field_name_that_is_no_token_is_refused() {
    for lines in [
        "A b: c",
        "A(: b",
        "A",
        "A=b",
        "\"A\": b",
        "A/B: c",
        "\u{e4}: b",
        "A@: b",
        "A[]: b",
        "{}",
    ] {
        assert_eq!(refusal(post(lines)), HeadError::FieldLine, "{lines:?}");
    }
}

#[test]
fn a_control_byte_in_a_field_is_refused() {
    for control in (0..0x20_u8)
        .chain([0x7F])
        .filter(|byte| !b"\t\r\n".contains(byte))
    {
        let control = char::from(control);
        for lines in [
            format!("A: b{control}c"),
            format!("A{control}: b"),
            format!("A: {control}"),
        ] {
            assert_eq!(refusal(post(&lines)), HeadError::ControlByte, "{lines:?}");
            let alone = RequestHead::parse(post(&lines).as_bytes()).unwrap_err();
            assert_eq!(alone, HeadError::ControlByte, "{lines:?}");
        }
    }
}

#[test]
fn a_bare_cr_in_a_field_is_refused() {
    for lines in [
        "A: b\rc",
        "A: \rb",
        "A\r: b",
        "A: b\r",
        "A: b\r\rc",
        "A: b\rTransfer-Encoding: chunked",
    ] {
        assert_eq!(refusal(post(lines)), HeadError::BareCr, "{lines:?}");
        assert_eq!(
            RequestHead::parse(post(lines).as_bytes()).unwrap_err(),
            HeadError::BareCr
        );
    }
}

#[test]
fn a_bare_lf_in_a_field_is_refused() {
    for lines in [
        "A: b\nC: d",
        "A: b\n",
        "A\n: b",
        "A: b\n c",
        "A: b\nTransfer-Encoding: chunked",
    ] {
        assert_eq!(refusal(post(lines)), HeadError::BareLf, "{lines:?}");
        assert!(RequestHead::parse(post(lines).as_bytes()).is_err());
    }
}

#[test]
fn tabs_and_opaque_bytes_in_values_are_accepted() {
    let text = b"GET / HTTP/1.1\r\nHost: a\r\nA: b\tc\x80\xFF\xC3\xA4\r\n\r\n";

    let head = parse(text).unwrap();

    assert_eq!(
        head.fields.get(text, "a"),
        Some(&b"b\tc\x80\xFF\xC3\xA4"[..])
    );
}

#[test]
fn too_many_fields_are_refused_with_431() {
    let fields = |count: usize| post(&vec!["A: b"; count - 1].join("\r\n"));

    assert_eq!(
        parse(fields(HEAD_FIELDS_MAX).as_bytes())
            .unwrap()
            .fields
            .count(),
        HEAD_FIELDS_MAX
    );
    let error = refusal(fields(HEAD_FIELDS_MAX + 1));
    assert_eq!((error, error.status()), (HeadError::TooManyFields, 431));
}

#[test]
fn debug_output_of_a_head_holds_no_values() {
    let head = accepted("Authorization: Bearer secret");

    assert!(!format!("{head:?}").contains("secret"));
}
