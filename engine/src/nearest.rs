//! Did you mean …? One measure of likeness for every name that people type.

/// How alike names must be to be suggested, of 1 for equal ones.
const ALIKE: f64 = 0.7;

/// The name most like `wanted`, in any case; of equals the first. None if none is much alike.
///
/// ```
/// use engine::nearest::nearest;
///
/// assert_eq!(nearest("epoch", ["epochs", "batch"]), Some("epochs"));
/// assert_eq!(nearest("zzz", ["epochs", "batch"]), None);
/// ```
pub fn nearest<'a>(wanted: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = wanted.to_lowercase();
    let mut best = None;
    for name in names {
        let likeness = likeness(&wanted, &name.to_lowercase());
        if likeness > best.map_or(ALIKE, |(most, _)| most) {
            best = Some((likeness, name));
        }
    }
    best.map(|(_, name)| name)
}

/// Alike by their beginnings, or by few edits, which counts for more where names are short.
fn likeness(a: &str, b: &str) -> f64 {
    const SHORT: f64 = 7.0 / 6.0;
    strsim::jaro_winkler(a, b).max(SHORT * strsim::normalized_damerau_levenshtein(a, b))
}
