//! Which fields may be passed on (RFC 9110 §7.6.1).

use super::bytes::list;
use super::fields::Fields;

/// The fields of the head in `buf` that may be passed on, names as they were written.
///
/// Left out are the ones that speak to the next hop only, those that `Connection` nominates, and
/// `Content-Length`: framing is always written anew.
pub fn end_to_end<'a>(
    fields: &'a Fields,
    buf: &'a [u8],
) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
    let nominated = move || fields.get_all(buf, "connection").flat_map(list);
    // As a rule nothing is nominated that would not be left out anyway, and no field is looked up.
    let nominates = nominated().any(|option| !is_hop_by_hop(option));
    let is_nominated =
        move |name| nominates && nominated().any(|option| option.eq_ignore_ascii_case(name));
    fields
        .iter(buf)
        .filter(move |(name, _)| !(is_hop_by_hop(name) || is_nominated(name)))
}

/// Whether a field called `name` is left out in any case. `close`, which is no field, counts too,
/// as does the empty member of a list.
fn is_hop_by_hop(name: &[u8]) -> bool {
    let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
    match name.len() {
        0 => true,
        2 => is("te"),
        5 => is("close"),
        7 => is("trailer") || is("upgrade"),
        10 => is("connection") || is("keep-alive"),
        14 => is("content-length") || is("http2-settings"),
        16 => is("proxy-connection"),
        17 => is("transfer-encoding"),
        18 => is("proxy-authenticate"),
        19 => is("proxy-authorization"),
        _ => false,
    }
}
