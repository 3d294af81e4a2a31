//! The names by which programs call the factors of low-rank adapters, and other parts of them.

use std::fmt;

use serde::Serialize;

/// By whose names the factors are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum AdapterKind {
    /// `X.lora_A.weight` and `X.lora_B.weight`, also with the adapter's name before `weight`, and
    /// `X.lora_embedding_A` and `X.lora_embedding_B`. Scales stand in `adapter_config.json`.
    Peft,
    /// `X.lora_down.weight` and `X.lora_up.weight`, or with `lora.down` and `lora.up`, as diffusers
    /// writes them. Scales stand in tensors `X.alpha`.
    Kohya,
    /// `X.lora_A` and `X.lora_B`, as loralib writes them. Scales stand in the program that made them.
    Loralib,
    /// `X.lora_a` `[in, rank]` and `X.lora_b` `[rank, out]`, as MLX writes them with the scale in
    /// `adapter_config.json`, or with `.weight`, `[rank, in]` and `[out, rank]`, as torchtune has them.
    Mlx,
    /// Some like this and some like that.
    Mixed,
}

impl AdapterKind {
    /// Its name as text.
    pub fn name(self) -> &'static str {
        match self {
            Self::Peft => "peft",
            Self::Kohya => "kohya",
            Self::Loralib => "loralib",
            Self::Mlx => "mlx",
            Self::Mixed => "mixed",
        }
    }
}

impl fmt::Display for AdapterKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What follows a mark in the name of a factor.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Tail {
    /// `.weight`
    Weight,
    /// `.weight`, also with the adapter's name before it.
    NamedWeight,
    /// Nothing, or the adapter's name.
    Name,
    /// Nothing.
    End,
}

/// What stands between a module and the rest of a factor's name, for `A` and for `B`.
const MARKS: [(&str, &str, AdapterKind, Tail); 9] = [
    (".lora_A", ".lora_B", AdapterKind::Peft, Tail::NamedWeight),
    (".lora_A", ".lora_B", AdapterKind::Loralib, Tail::End),
    (".lora_embedding_A", ".lora_embedding_B", AdapterKind::Peft, Tail::Name),
    (".lora_a", ".lora_b", AdapterKind::Mlx, Tail::Weight),
    (".lora_a", ".lora_b", AdapterKind::Mlx, Tail::End),
    (".lora_down", ".lora_up", AdapterKind::Kohya, Tail::Weight),
    (".lora.down", ".lora.up", AdapterKind::Kohya, Tail::Weight),
    ("_lora.down", "_lora.up", AdapterKind::Kohya, Tail::Weight),
    (".lora_linear_layer.down", ".lora_linear_layer.up", AdapterKind::Kohya, Tail::Weight),
];

/// What the name of a factor says.
pub(crate) struct Named<'a> {
    pub(crate) module: &'a str,
    pub(crate) kind: AdapterKind,
    pub(crate) is_down: bool,
    /// The name of the other factor.
    pub(crate) partner: String,
}

/// Reads the name of a factor; other names have none.
pub(crate) fn factor(name: &str) -> Option<Named<'_>> {
    // Nearly all names end here.
    if !name.contains("lora") {
        return None;
    }
    MARKS.iter().find_map(|&(down, up, kind, tail)| {
        let find = |mark: &str| name.rfind(mark).map(|at| (at, &name[at + mark.len()..]));
        let (is_down, at, rest) = match (find(down), find(up)) {
            (Some((at, rest)), _) => (true, at, rest),
            (None, Some((at, rest))) => (false, at, rest),
            (None, None) => return None,
        };
        let adapter = match tail {
            Tail::Weight | Tail::NamedWeight => rest.strip_suffix(".weight")?,
            Tail::Name | Tail::End => rest,
        };
        let may_be_named = matches!(tail, Tail::NamedWeight | Tail::Name);
        // The name of the adapter, if it is there, has no dots.
        let is_name = |name: &str| may_be_named && !name.is_empty() && !name.contains('.');
        let is_factor =
            at > 0 && (adapter.is_empty() || adapter.strip_prefix('.').is_some_and(is_name));
        let partner = format!("{}{}{rest}", &name[..at], if is_down { up } else { down });
        is_factor.then(|| Named { module: &name[..at], kind, is_down, partner })
    })
}

/// What a name says that is, by whatever program, the name of a part of a low-rank adapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// The factor next to the input.
    Down,
    /// The factor next to the output.
    Up,
    /// A part of something that is no product of two factors; and of what, in words.
    Other(&'static str),
}

/// How names of parts begin, after a dot or alone, of adapters that are no product of two factors.
const OTHERS: [(&str, &str); 12] = [
    ("hada_", "it is a factor of LoHa, the elementwise product of two products"),
    ("lokr_", "it is a factor of LoKr, a Kronecker product"),
    ("vera_", "it is a factor of VeRA, a product of four"),
    ("vblora_", "it is a part of VB-LoRA, whose factors are mixtures of vectors"),
    ("randlora_", "it is a factor of RandLoRA, a sum of products of four"),
    ("glora_", "it is a factor of GLoRA, which is more than a product"),
    ("lora_magnitude", DORA),
    ("dora_scale", DORA),
    ("dora_magnitude", DORA),
    ("magnitude_vector", DORA),
    ("lora_mid", "it is the core of a CP decomposition, a product of three"),
    ("lora_e", "it is the middle factor of AdaLoRA, a product of three"),
];

const DORA: &str = "it is a magnitude of DoRA, which divides by the norm of what is adapted";

/// Words between `lora` and what says which factor it is.
const FILLERS: [&str; 7] = ["embedding", "linear", "layer", "conv", "matrix", "weight", "adapter"];

/// What a name says in whatever spelling, also where [`factor`] does not know it.
///
/// A side is told by a word that follows `lora`: `a`, `down` or `in`, and `b`, `up` or `out`.
pub(crate) fn part(name: &str) -> Option<Part> {
    let name = name.to_ascii_lowercase();
    let begins = |word: &str, start: &str| {
        // `lora_e` is all of a word, as others begin like it.
        word.starts_with(start) && (start != "lora_e" || word == start)
    };
    for word in name.split('.') {
        if let Some((_, what)) = OTHERS.iter().find(|(start, _)| begins(word, start)) {
            return Some(Part::Other(what));
        }
    }
    for (at, mark) in name.match_indices("lora") {
        // `flora_b` is another word.
        if name[..at].ends_with(|c: char| c.is_alphabetic()) {
            continue;
        }
        let words = name[at + mark.len()..].split(['.', '_']).skip_while(|word| word.is_empty());
        for word in words.take(3) {
            match word.trim_end_matches(|c: char| c.is_ascii_digit()) {
                "a" | "down" | "in" | "left" => return Some(Part::Down),
                "b" | "up" | "out" | "right" => return Some(Part::Up),
                filler if FILLERS.contains(&filler) => {}
                _ => break,
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_parts_are_known_in_every_spelling() {
        for (down, up) in [
            ("m.lora_A.weight", "m.lora_B.weight"),
            ("lora_A.weight", "lora_B.weight"),
            ("lora_down.weight", "lora_up.weight"),
            ("m.lora_A", "m.lora_B"),
            ("m.lora_a", "m.lora_b"),
            ("m.lora_A.default", "m.lora_B.default"),
            ("m.lora.linear_in.weight", "m.lora.linear_out.weight"),
            ("m.lora_linear_layer.down.weight", "m.lora_linear_layer.up.weight"),
            ("m.loraA.weight", "m.loraB.weight"),
            ("m.lora_A0.weight", "m.lora_B1.weight"),
            ("m.q_lora_A", "m.q_lora_B"),
            ("m.LORA_A", "m.LORA_B"),
            ("m.lora_embedding_A.x", "m.lora_embedding_B.x"),
        ] {
            assert_eq!((part(down), part(up)), (Some(Part::Down), Some(Part::Up)), "{down}");
        }
        for name in [
            "m.hada_w1_a",
            "m.hada_t2",
            "m.lokr_w1",
            "m.lokr_w2_b",
            "m.vera_lambda_b",
            "base_model.vera_A",
            "m.lora_magnitude_vector",
            "m.lora_magnitude_vector.default.weight",
            "m.dora_scale",
            "m.lora_mid.weight",
            "m.lora_E",
        ] {
            assert!(matches!(part(name), Some(Part::Other(_))), "{name}");
        }
        for name in [
            "m.weight",
            "flora_b",
            "m.lora_unet_down_blocks_0.alpha",
            "lora_te_text_model.alpha",
            "m.w_lora.lora.0.weight",
            "m.kv_lora_rank",
            "m.lora_attention",
            "a.b",
            "explora_up.down",
            "m.lora_bias",
            "veranda.weight",
        ] {
            assert_eq!(part(name), None, "{name}");
        }
    }
}
