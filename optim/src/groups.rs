//! Parameter groups: other options for some parameters, chosen by the names of their tensors.

use crate::clip::shrink_factor;
use crate::group::Group;
use crate::pattern::Pattern;
use crate::slices::{scale, square_sum};
use crate::{Error, GroupConfig};

/// How the parameters of one flat slice are treated: which are trained, and with what options.
///
/// ```
/// use optim::{AdamWConfig, GroupConfig, Optimizer, ParamGroups};
///
/// let tensors = [("fc.weight", 2), ("fc.bias", 1), ("head.weight", 1)];
/// let no_decay = GroupConfig { weight_decay: Some(0.0), ..GroupConfig::new(&["fc.bias"]) };
/// let frozen = GroupConfig { frozen: true, ..GroupConfig::new(&["head.weight"]) };
/// let groups = ParamGroups::by_name(&tensors, &[no_decay, frozen], &[])?;
///
/// let mut adamw = AdamWConfig { weight_decay: 0.5, ..AdamWConfig::default() }.build_for(&groups)?;
/// let mut params = [1.0; 4];
/// adamw.step(&mut params, &[0.0; 4], 0.5);
/// assert_eq!(params, [0.75, 0.75, 1.0, 1.0]);
/// # Ok::<(), optim::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct ParamGroups {
    n_params: usize,
    /// The tensors that are trained, in order.
    trained: Vec<Group>,
    /// Longest gradient of each configured group.
    clip_norms: Vec<Option<f32>>,
}

impl ParamGroups {
    /// All parameters alike, as one tensor.
    pub fn whole(n_params: usize) -> Self {
        let whole = Group { range: 0..n_params, lr_scale: 1.0, weight_decay: None, index: None };
        Self { n_params, trained: vec![whole], clip_norms: Vec::new() }
    }

    /// Groups by the names of tensors, which are given with their sizes in the order in which they
    /// lie in the flat slice. With names in `trainable`, all others are frozen. With the feature
    /// `glob` names may be patterns here and in the groups.
    ///
    /// # Errors
    /// If a group is not valid, a pattern matches no tensor, or nothing is left to train.
    pub fn by_name<N: AsRef<str>>(
        tensors: &[(N, usize)],
        groups: &[GroupConfig],
        trainable: &[String],
    ) -> Result<Self, Error> {
        groups.iter().try_for_each(GroupConfig::validate)?;
        let chosen = patterns(trainable)?;
        let of_groups: Vec<Vec<Pattern>> =
            groups.iter().map(|group| patterns(&group.params)).collect::<Result<_, _>>()?;
        for pattern in chosen.iter().chain(of_groups.iter().flatten()) {
            if !tensors.iter().any(|(name, _)| pattern.matches(name.as_ref())) {
                let names = tensors.iter().map(|(name, _)| name.as_ref().to_owned()).collect();
                return Err(Error::NoMatch { pattern: pattern.as_str().to_owned(), names });
            }
        }
        let matches =
            |patterns: &[Pattern], name: &str| patterns.iter().any(|pattern| pattern.matches(name));
        let mut trained = Vec::new();
        let mut end = 0;
        for (name, n_elements) in tensors {
            let name = name.as_ref();
            let range = end..end + n_elements;
            end = range.end;
            let index = of_groups.iter().position(|patterns| matches(patterns, name));
            let group = index.map(|i| &groups[i]);
            let frozen = group.is_some_and(|group| group.frozen);
            if frozen || !(chosen.is_empty() || matches(&chosen, name)) {
                continue;
            }
            trained.push(Group {
                range,
                lr_scale: group.map_or(1.0, |group| group.lr_scale),
                weight_decay: group.and_then(|group| group.weight_decay),
                index,
            });
        }
        if end > 0 && trained.iter().all(|group: &Group| group.range.is_empty()) {
            let conflict = "every parameter is frozen, nothing is left to train";
            return Err(Error::Conflict { owner: "parameter groups", conflict });
        }
        let clip_norms = groups.iter().map(|group| group.clip_norm).collect();
        Ok(Self { n_params: end, trained, clip_norms })
    }

    /// Length of the flat slice, frozen parameters included.
    pub fn n_params(&self) -> usize {
        self.n_params
    }

    /// Parameters that are trained.
    pub fn n_trained(&self) -> usize {
        self.trained.iter().map(|group| group.range.len()).sum()
    }

    /// The largest factor of the learning rate of any parameter that is trained.
    pub fn largest_lr_scale(&self) -> f32 {
        let trained = self.trained.iter().filter(|group| !group.range.is_empty());
        trained.map(|group| group.lr_scale).fold(0.0, f32::max)
    }

    /// Whether the tensor that begins at this place of the flat slice is trained.
    pub fn is_trained(&self, start: usize) -> bool {
        self.trained.iter().any(|group| group.range.contains(&start))
    }

    /// Sets the gradients of frozen parameters to zero, so that they count in no norm.
    ///
    /// # Panics
    /// If `grads` has another length than the parameters.
    pub fn mask(&self, grads: &mut [f32]) {
        self.check_length(grads);
        let mut end = 0;
        for group in &self.trained {
            grads[end..group.range.start].fill(0.0);
            end = group.range.end;
        }
        grads[end..].fill(0.0);
    }

    /// Clips the gradient of every group that has a `clip_norm`, over all its tensors together, as
    /// [`clip_by_global_norm`](crate::clip_by_global_norm) does.
    ///
    /// # Panics
    /// If `grads` has another length than the parameters.
    pub fn clip(&self, grads: &mut [f32]) {
        self.check_length(grads);
        for (index, max_norm) in self.clip_norms.iter().enumerate() {
            let Some(max_norm) = *max_norm else { continue };
            let members = || self.trained.iter().filter(|group| group.index == Some(index));
            let sum: f64 = members().map(|g| square_sum(&grads[g.range.clone()])).sum();
            if let Some(factor) = shrink_factor(sum.sqrt(), max_norm) {
                for group in members() {
                    scale(&mut grads[group.range.clone()], factor);
                }
            }
        }
    }

    /// The tensors that are trained.
    pub(crate) fn tensors(&self) -> Vec<Group> {
        self.trained.clone()
    }

    /// The same with neighbours that are treated alike as one.
    pub(crate) fn runs(&self) -> Vec<Group> {
        let mut runs: Vec<Group> = Vec::new();
        for group in &self.trained {
            let settings = |g: &Group| (g.lr_scale.to_bits(), g.weight_decay.map(f32::to_bits));
            match runs.last_mut() {
                Some(last)
                    if last.range.end == group.range.start && settings(last) == settings(group) =>
                {
                    last.range.end = group.range.end;
                }
                _ => runs.push(group.clone()),
            }
        }
        runs
    }

    #[track_caller]
    fn check_length(&self, grads: &[f32]) {
        let (found, expected) = (grads.len(), self.n_params);
        assert!(found == expected, "grads has {found} elements, the groups {expected}");
    }
}

fn patterns(texts: &[String]) -> Result<Vec<Pattern>, Error> {
    texts.iter().map(|text| Pattern::new(text)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TENSORS: [(&str, usize); 5] = [
        ("embed.weight", 4),
        ("blocks.0.attn.qkv.weight", 6),
        ("blocks.0.attn.qkv.bias", 2),
        ("blocks.0.norm1.weight", 2),
        ("head.weight", 3),
    ];
    const ATTENTION: [&str; 2] = ["blocks.0.attn.qkv.weight", "blocks.0.attn.qkv.bias"];

    fn by_name(groups: &[GroupConfig], trainable: &[&str]) -> Result<ParamGroups, Error> {
        let trainable: Vec<String> = trainable.iter().map(|&t| t.to_owned()).collect();
        ParamGroups::by_name(&TENSORS, groups, &trainable)
    }

    #[test]
    fn the_first_group_that_matches_counts() {
        let head = GroupConfig { lr_scale: 3.0, ..GroupConfig::new(&["head.weight"]) };
        let all = TENSORS.map(|(name, _)| name);
        let rest = GroupConfig { weight_decay: Some(0.5), ..GroupConfig::new(&all) };
        let groups = by_name(&[head, rest], &[]).unwrap();
        let runs = groups.runs();
        let settings: Vec<_> =
            runs.iter().map(|g| (g.range.clone(), g.lr_scale, g.weight_decay)).collect();
        assert_eq!(settings, [(0..14, 1.0, Some(0.5)), (14..17, 3.0, None)]);
        assert_eq!(groups.tensors().len(), 5);
        assert_eq!((groups.n_params(), groups.n_trained()), (17, 17));
    }

    #[test]
    fn what_is_not_trainable_is_frozen() {
        let groups = by_name(&[], &ATTENTION).unwrap();
        assert_eq!(groups.n_trained(), 8);
        assert!(groups.is_trained(4) && !groups.is_trained(0) && !groups.is_trained(14));
        let mut grads = [1.0; 17];
        groups.mask(&mut grads);
        let kept: Vec<usize> = (0..17).filter(|&i| grads[i] > 0.0).collect();
        assert_eq!(kept, (4..12).collect::<Vec<_>>());
    }

    #[test]
    fn a_group_is_clipped_over_all_its_tensors() {
        let attn = GroupConfig { clip_norm: Some(1.0), ..GroupConfig::new(&ATTENTION) };
        let groups = by_name(&[attn], &[]).unwrap();
        let mut grads = [2.0_f32; 17];
        groups.clip(&mut grads);
        // Eight gradients of 2 have the norm √32.
        let mut expected = [2.0_f32; 17];
        expected[4..12].fill(2.0 / 32_f32.sqrt());
        testkit::assert_close("grads", &grads, &expected, 1e-6, 0.0);
    }

    #[test]
    fn names_that_are_not_there_and_groups_without_tensors_are_errors() {
        let message = by_name(&[], &["block.0"]).unwrap_err().to_string();
        assert!(message.contains("\"block.0\" matches no parameter"), "{message}");
        assert!(message.contains("blocks.0.attn.qkv.weight"), "{message}");
        assert!(by_name(&[GroupConfig::default()], &[]).is_err());
        let all = TENSORS.map(|(name, _)| name);
        let frozen = GroupConfig { frozen: true, ..GroupConfig::new(&all) };
        let message = by_name(&[frozen], &[]).unwrap_err().to_string();
        assert!(message.contains("every parameter is frozen"), "{message}");
    }
}
