//! Parameter groups by patterns.

use optim::{GroupConfig, ParamGroups};

const TENSORS: [(&str, usize); 4] = [
    ("blocks.0.attn.qkv.weight", 6),
    ("blocks.0.attn.qkv.bias", 2),
    ("blocks.0.norm1.weight", 2),
    ("head.weight", 3),
];

fn by_name(groups: &[GroupConfig], trainable: &[&str]) -> Result<ParamGroups, optim::Error> {
    let trainable: Vec<String> = trainable.iter().map(|&t| t.to_owned()).collect();
    ParamGroups::by_name(&TENSORS, groups, &trainable)
}

#[test]
fn a_pattern_chooses_all_that_it_matches() {
    assert_eq!(by_name(&[], &["blocks.*.attn.*"]).unwrap().n_trained(), 8);
    let frozen = GroupConfig { frozen: true, ..GroupConfig::new(&["*.bias", "*norm?.*"]) };
    assert_eq!(by_name(&[frozen], &[]).unwrap().n_trained(), 9);
}

#[test]
fn the_first_group_counts() {
    let head = GroupConfig::new(&["head.*"]);
    let rest = GroupConfig { frozen: true, ..GroupConfig::new(&["*"]) };
    let groups = by_name(&[head, rest], &[]).unwrap();
    assert!(groups.is_trained(10) && !groups.is_trained(0));
}

#[test]
fn a_pattern_that_chooses_nothing_is_an_error_that_says_so() {
    let message = by_name(&[], &["block.*"]).unwrap_err().to_string();
    assert!(message.contains("\"block.*\" matches no parameter"), "{message}");
    assert!(message.contains("blocks.0.attn.qkv.weight"), "{message}");
    assert!(by_name(&[], &["[a"]).unwrap_err().to_string().contains("\"[a\" is malformed"));
    let frozen = GroupConfig { frozen: true, ..GroupConfig::new(&["*"]) };
    assert!(by_name(&[frozen], &[]).unwrap_err().to_string().contains("every parameter is frozen"));
}
