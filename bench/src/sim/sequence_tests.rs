use super::*;
use proptest::prelude::*;

fn plan(limits: &Limits) -> Plan {
    Plan::new("m", 42, 0, limits, 1000, (128, 256))
}

#[test]
fn named_limit_is_met_exactly() {
    let plan = plan(&Limits {
        named: Some(700),
        ..Limits::default()
    });

    assert_eq!((plan.total, plan.finish_reason()), (700, "length"));
}

#[test]
fn without_a_limit_the_answer_ends_by_itself_with_a_silent_token() {
    let plan = plan(&Limits::default());

    assert!((128..=256).contains(&plan.total));
    assert_eq!(plan.finish_reason(), "stop");
    assert_eq!(plan.text(plan.total - 1), "");
    assert_ne!(plan.text(plan.total - 2), "");
}

#[test]
fn ignoring_the_end_runs_to_the_context_limit() {
    let plan = plan(&Limits {
        ignore_eos: true,
        ..Limits::default()
    });
    assert_eq!((plan.total, plan.finish_reason()), (1000, "length"));
}

#[test]
fn stop_token_ends_the_answer_silently() {
    let named = Limits {
        named: Some(100),
        ..Limits::default()
    };
    let id = plan(&named).token(5);
    let first = (0..).find(|at| plan(&named).token(*at) == id).unwrap();

    let stopped = plan(&Limits {
        stop_token_ids: vec![id],
        ..named
    });

    assert_eq!(stopped.total, first + 1);
    assert_eq!(stopped.stop, Some(Stop::Token(id)));
    assert_eq!(stopped.text(first), "");
}

#[test]
fn stop_string_cuts_the_text_before_it() {
    let named = Limits {
        named: Some(60),
        ..Limits::default()
    };
    let whole = plan(&named).full_text();
    let stop = whole.chars().skip(40).take(9).collect::<String>();

    let cut = plan(&Limits {
        stop: vec![stop.clone()],
        ..named.clone()
    });
    let kept = plan(&Limits {
        stop: vec![stop.clone()],
        include_stop: true,
        ..named
    });

    let at = whole.find(&stop).unwrap();
    assert_eq!(cut.full_text(), whole.get(..at).unwrap());
    assert_eq!(kept.full_text(), whole.get(..at + stop.len()).unwrap());
    assert_eq!(cut.finish_reason(), "stop");
    assert_eq!(cut.stop_reason(), stop.as_str());
}

#[test]
fn dropping_tokens_from_the_left_changes_the_hash() {
    let mut prompt = Prompt::from_text("one two three");
    let before = prompt.hash;

    prompt.keep_last(2);

    assert_eq!(prompt.tokens, tokenize(" two three"));
    assert_ne!(prompt.hash, before);
}

proptest! {
    #[test]
    fn pieces_add_up_whatever_the_stop_rule(
        stop in "[a-z ,.]{1,6}", named in 1u32..120, min in 0u32..20, include in any::<bool>(), hash in any::<u64>()
    ) {
        let limits = Limits { named: Some(named), min_tokens: min.min(named), stop: vec![stop], include_stop: include, ..Limits::default() };
        let free = Limits { stop: vec![], ..limits.clone() };
        let plan = Plan::new("m", hash, 0, &limits, 1000, (128, 256));
        let whole = Plan::new("m", hash, 0, &free, 1000, (128, 256)).full_text();

        let mut json = vec![b'"'];
        let mut text = String::new();
        for at in 0..plan.total {
            text.push_str(plan.text(at));
            plan.push_json(at, &mut json);
        }
        json.push(b'"');

        prop_assert_eq!(&serde_json::from_slice::<String>(&json).unwrap(), &text);
        prop_assert!(whole.starts_with(&text));
        if plan.stop.is_none() {
            prop_assert_eq!(text, whole);
        }
    }
}
