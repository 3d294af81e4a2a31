//! Which value of a wide row is of which channel and step.

use std::collections::{BTreeMap, BTreeSet};

use super::config::{DataConfig, Picture, WideOrder};
use super::patterns::around_number;
use super::reader::channel_name;

/// Fewest steps of a stem that make a row of numbers of it rather than a few properties.
const FEW: usize = 3;

/// The layout of a sample.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Order {
    /// Names of the channels.
    pub(super) channels: Vec<String>,
    /// Indexes of the values, `[n_steps, n_channels]`.
    pub(super) places: Vec<usize>,
    /// How it was found, where it is not one channel after the other.
    pub(super) by: Option<String>,
    /// Whether the names look like those of several channels, though it was read as one.
    pub(super) doubtful: bool,
}

impl Order {
    /// Of value columns with these names. `known` are the channels that others have, if some do: names say
    /// nothing else then.
    ///
    /// # Errors
    /// If the number of columns does not fit; the message leaves the place to the caller.
    pub(super) fn of(
        config: &DataConfig,
        names: &[&str],
        known: Option<&[String]>,
    ) -> Result<Self, String> {
        if let Some(picture) = &config.picture {
            if config.wide_channels != 1 || config.wide_order.is_some() {
                return Err(
                    "data.picture goes without wide_channels and wide_order; take them out"
                        .to_owned(),
                );
            }
            return Self::of_picture(*picture, names.len());
        }
        let n_channels = config.wide_channels;
        if n_channels == 1 && config.wide_order.is_none() {
            match ByName::of(names) {
                ByName::Channels(found) => {
                    if let Some(order) = Self::of_names(found, known) {
                        return Ok(order);
                    }
                }
                ByName::Doubtful => {
                    return Ok(Self { doubtful: true, ..Self::regular(names.len(), 1, None) });
                }
                ByName::One => {}
            }
        }
        if n_channels == 0 || !names.len().is_multiple_of(n_channels) {
            return Err(format!(
                "{} value columns do not divide into data.wide_channels = {n_channels}; correct it, or list \
                 the value columns in data.channels",
                names.len()
            ));
        }
        Ok(Self::regular(names.len(), n_channels, config.wide_order))
    }

    /// So many channels one after the other, or step by step.
    fn regular(n_values: usize, n_channels: usize, order: Option<WideOrder>) -> Self {
        let n_steps = n_values / n_channels;
        let by_steps = order == Some(WideOrder::StepsChannels);
        let of_step = |step: usize| {
            (0..n_channels).map(move |channel| {
                if by_steps { step * n_channels + channel } else { channel * n_steps + step }
            })
        };
        let channels = if n_steps == 0 { 0 } else { n_channels };
        Self {
            channels: (0..channels).map(channel_name).collect(),
            places: (0..n_steps).flat_map(of_step).collect(),
            by: by_steps.then(|| "one step after the other".to_owned()),
            doubtful: false,
        }
    }

    /// The channels that names say, in the order of the known ones; none if they are others.
    fn of_names(mut found: Vec<(String, Vec<usize>)>, known: Option<&[String]>) -> Option<Self> {
        if let Some(known) = known {
            let place = |name: &String| known.iter().position(|other| other == name);
            if found.len() != known.len() || found.iter().any(|(name, _)| place(name).is_none()) {
                return None;
            }
            found.sort_by_key(|(name, _)| place(name));
        }
        let n_steps = found.first().map_or(0, |(_, places)| places.len());
        let of_step = |step: usize| found.iter().map(move |(_, places)| places[step]);
        let places = (0..n_steps).flat_map(of_step).collect();
        let by = Some("channels and steps by the names of columns".to_owned());
        let channels = found.into_iter().map(|(name, _)| name).collect();
        Some(Self { channels, places, by, doubtful: false })
    }

    fn of_picture(picture: Picture, n_values: usize) -> Result<Self, String> {
        let Picture { width, height, patch: [w, h] } = picture;
        if width.checked_mul(height) != Some(n_values) {
            return Err(format!(
                "{n_values} value columns are no picture of {width} × {height} pixels; correct data.picture, or \
                 list the value columns in data.channels"
            ));
        }
        if w == 0 || h == 0 || !width.is_multiple_of(w) || !height.is_multiple_of(h) {
            return Err(format!(
                "patches of {w} × {h} pixels do not divide a picture of {width} × {height}; correct \
                 data.picture"
            ));
        }
        let patches =
            (0..height / h).flat_map(|row| (0..width / w).map(move |column| (row, column)));
        let pixels = |(row, column): (usize, usize)| {
            let pixels = (0..h).flat_map(move |y| (0..w).map(move |x| (y, x)));
            pixels.map(move |(y, x)| (row * h + y) * width + column * w + x)
        };
        let channels = if n_values == 0 { 0 } else { w * h };
        Ok(Self {
            channels: (0..channels).map(|pixel| format!("px_{pixel}")).collect(),
            places: patches.flat_map(pixels).collect(),
            by: Some(format!("pictures of {width} × {height} pixels in patches of {w} × {h}")),
            doubtful: false,
        })
    }
}

/// What names of columns say of channels.
#[derive(Debug, PartialEq, Eq)]
enum ByName {
    /// Nothing.
    One,
    /// That there are several, but not which value is what.
    Doubtful,
    /// Each channel with the places of its values, in order of time.
    Channels(Vec<(String, Vec<usize>)>),
}

impl ByName {
    fn of(names: &[&str]) -> Self {
        // Stems in the order in which they come, each with its numbers.
        let mut stems: Vec<(&str, BTreeMap<u64, usize>)> = Vec::new();
        let mut index: BTreeMap<&str, usize> = BTreeMap::new();
        let mut regular = true;
        for (place, name) in names.iter().enumerate() {
            let Some((stem, number)) = numbered(name) else {
                regular = false;
                continue;
            };
            let at = *index.entry(stem).or_insert_with(|| {
                stems.push((stem, BTreeMap::new()));
                stems.len() - 1
            });
            regular &= stems[at].1.insert(number, place).is_none();
        }
        let many: Vec<_> = stems.iter().filter(|(_, numbers)| numbers.len() >= FEW).collect();
        let n_many: usize = many.iter().map(|(_, numbers)| numbers.len()).sum();
        let doubtful =
            if many.len() > 1 && 2 * n_many >= names.len() { Self::Doubtful } else { Self::One };
        let [(_, first), others @ ..] = &stems[..] else { return Self::One };
        let (Some(low), Some(high)) = (first.keys().next(), first.keys().next_back()) else {
            return Self::One;
        };
        // A number may be the largest there is.
        let is_whole = first.len() > 1 && high - low == first.len() as u64 - 1;
        regular &= is_whole && others.iter().all(|(_, numbers)| numbers.keys().eq(first.keys()));
        if others.is_empty() {
            return Self::One;
        }
        if !regular {
            return doubtful;
        }
        let channels = stems.iter().map(|(stem, _)| clean(stem)).collect::<Vec<_>>();
        let distinct: BTreeSet<_> = channels.iter().filter(|name| !name.is_empty()).collect();
        let cleaned = distinct.len() == channels.len();
        let name = |stem: &str| if cleaned { clean(stem) } else { stem }.to_owned();
        let places = |numbers: &BTreeMap<u64, usize>| numbers.values().copied().collect();
        Self::Channels(stems.iter().map(|(stem, numbers)| (name(stem), places(numbers))).collect())
    }
}

/// A name that ends in a number: what stands before it, and the number.
fn numbered(name: &str) -> Option<(&str, u64)> {
    let (stem, number, "") = around_number(name)? else { return None };
    Some((stem, number.parse().ok()?))
}

/// A stem without what stands between it and the number of a step.
fn clean(stem: &str) -> &str {
    const BETWEEN: [char; 4] = ['_', '-', '.', ' '];
    let plain = stem.trim_end_matches(BETWEEN);
    let words = ["step", "t", "T"];
    let without = words.iter().find_map(|word| {
        let rest = plain.strip_suffix(word)?;
        let short = rest.trim_end_matches(BETWEEN);
        (short.len() < rest.len()).then_some(short)
    });
    without.unwrap_or(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(names: &str, config: &DataConfig) -> Result<Order, String> {
        Order::of(config, &names.split_whitespace().collect::<Vec<_>>(), None)
    }

    /// The channels and places by names alone.
    fn by_name(names: &str) -> (String, Vec<usize>) {
        let order = order(names, &DataConfig::default()).unwrap();
        (order.channels.join(" "), order.places)
    }

    fn many(stems: &[&str], n: usize) -> String {
        let names = stems.iter().flat_map(|stem| (0..n).map(move |i| format!("{stem}{i} ")));
        names.collect()
    }

    #[test]
    fn names_say_channels_and_steps_in_any_order() {
        let ab = |places: [usize; 6]| ("a b".to_owned(), places.to_vec());
        for (names, found) in [
            ("a0 b0 a1 b1 a2 b2", ab([0, 1, 2, 3, 4, 5])),
            ("a0 a1 a2 b0 b1 b2", ab([0, 3, 1, 4, 2, 5])),
            ("a_1 b_1 a_2 b_2 a_3 b_3", ab([0, 1, 2, 3, 4, 5])),
            ("a_t0 b_t0 a_t1 b_t1 a_t2 b_t2", ab([0, 1, 2, 3, 4, 5])),
            ("a2 a1 a0 b2 b0 b1", ab([2, 4, 1, 5, 0, 3])),
            ("a08 b08 a09 b09 a10 b10", ab([0, 1, 2, 3, 4, 5])),
        ] {
            assert_eq!(by_name(names), found, "{names}");
        }
        assert_eq!(by_name("ch1_0 ch2_0 ch1_1 ch2_1").0, "ch1 ch2");
        assert_eq!(by_name("a0 a_0 a1 a_1").0, "a a_", "two that differ in the sign only");
        assert_eq!(by_name("t0 xt0 t1 xt1").0, "t xt", "no sign, no word");
    }

    #[test]
    fn what_names_do_not_say_is_one_channel() {
        let plain: Vec<usize> = (0..196).collect();
        assert_eq!(by_name(&many(&["p"], 196)), ("dim_0".to_owned(), plain));
        for (names, doubtful) in [
            ("p0 p1 p2 age sex", false),
            ("age weight height", false),
            ("0 1 2 3", false),
            ("x1 y1 z1", false),
            ("a0 a1 b0 b2", false),
            ("a0 a1 a2 b0 b1 b3", true),
            ("a0 a1 a2 b0 b1 b2 b3", true),
            ("a0 a1 a2 b0 b1 b2 note", true),
            ("a0 a1 a3 b0 b1 b3", true),
        ] {
            let order = order(names, &DataConfig::default()).unwrap();
            assert_eq!((order.channels, order.by), (vec!["dim_0".to_owned()], None), "{names}");
            assert_eq!(order.doubtful, doubtful, "{names}");
        }
    }

    #[test]
    fn what_the_job_says_goes_before_names() {
        let with = |wide_channels, wide_order| DataConfig {
            wide_channels,
            wide_order,
            ..DataConfig::default()
        };
        let names = "a0 b0 a1 b1";
        let found = order(names, &with(2, None)).unwrap();
        assert_eq!(
            (&found.channels.join(" ")[..], &found.places[..]),
            ("dim_0 dim_1", &[0, 2, 1, 3][..])
        );
        let found = order(names, &with(2, Some(WideOrder::StepsChannels))).unwrap();
        assert_eq!(
            (&found.channels.join(" ")[..], &found.places[..]),
            ("dim_0 dim_1", &[0, 1, 2, 3][..])
        );
        let found = order(names, &with(1, Some(WideOrder::ChannelsSteps))).unwrap();
        assert_eq!((&found.channels.join(" ")[..], found.places.len()), ("dim_0", 4));
        assert!(
            order(names, &with(3, None)).unwrap_err().contains("4 value columns do not divide")
        );
    }

    #[test]
    fn known_channels_decide_their_order_and_whether_names_count() {
        let config = DataConfig::default();
        let names = ["a0", "b0", "a1", "b1"];
        let of = |known: &[&str]| {
            let known: Vec<String> = known.iter().map(|&name| name.to_owned()).collect();
            let order = Order::of(&config, &names, Some(&known)).unwrap();
            (order.channels.join(" "), order.places)
        };
        assert_eq!(of(&["b", "a"]), ("b a".to_owned(), vec![1, 0, 3, 2]));
        assert_eq!(of(&["dim_0"]), ("dim_0".to_owned(), vec![0, 1, 2, 3]), "a model made before");
    }

    #[test]
    fn pictures_are_cut_into_patches_row_by_row() {
        let with = |width, height, patch| {
            let picture = Some(Picture { width, height, patch });
            order(&many(&["p"], 24), &DataConfig { picture, ..DataConfig::default() })
        };
        let found = with(6, 4, [3, 2]).unwrap();
        assert_eq!(found.channels, ["px_0", "px_1", "px_2", "px_3", "px_4", "px_5"]);
        assert_eq!(found.places[..6], [0, 1, 2, 6, 7, 8]);
        assert_eq!(found.places[6..12], [3, 4, 5, 9, 10, 11]);
        assert_eq!(found.places[12..18], [12, 13, 14, 18, 19, 20]);
        let mut all = found.places;
        all.sort_unstable();
        assert_eq!(all, (0..24).collect::<Vec<_>>());
        assert!(with(6, 5, [3, 1]).unwrap_err().contains("no picture of 6 × 5 pixels"));
        assert!(with(usize::MAX, 3, [3, 1]).unwrap_err().contains("no picture of"));
        for patch in [[4, 2], [3, 3], [0, 1], [1, 0]] {
            assert!(
                with(6, 4, patch).unwrap_err().contains("do not divide a picture"),
                "{patch:?}"
            );
        }
        let picture = Some(Picture { width: 1, height: 1, patch: [1, 1] });
        let both = DataConfig { picture, wide_channels: 2, ..DataConfig::default() };
        assert!(order("p0", &both).unwrap_err().contains("without wide_channels"));
    }
}
