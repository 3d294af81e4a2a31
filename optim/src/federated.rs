//! Terms that federated rules add to a node's gradient.
//!
//! `w` are the node's parameters, `x` the global model it started from.

use crate::slices::{add_difference, add_scaled, check_same_length};

/// Adds the proximal term of `FedProx`, which holds a node near the global model:
/// `g ← g + mu·(w − x)`.
///
/// Li et al., <https://arxiv.org/abs/1812.06127>.
///
/// # Panics
/// If the lengths differ.
///
/// ```
/// let mut grads = [0.0, 1.0];
/// optim::proximal(&mut grads, &[3.0, 5.0], &[1.0, 5.0], 0.5);
/// assert_eq!(grads, [1.0, 1.0]);
/// ```
pub fn proximal(grads: &mut [f32], params: &[f32], global: &[f32], mu: f32) {
    check_same_length(["grads", "params"], grads, params);
    check_same_length(["params", "global"], params, global);
    add_difference(grads, params, global, mu);
}

/// Corrects a node's gradient by the control variates of SCAFFOLD: `g ← g + c − c_k`, with `c` the
/// center's and `c_k` the node's.
///
/// Karimireddy et al., <https://arxiv.org/abs/1910.06378>.
///
/// # Panics
/// If the lengths differ.
///
/// ```
/// let mut grads = [1.0];
/// optim::control_variate(&mut grads, &[0.5], &[2.0]);
/// assert_eq!(grads, [-0.5]);
/// ```
pub fn control_variate(grads: &mut [f32], center: &[f32], node: &[f32]) {
    check_same_length(["grads", "center"], grads, center);
    check_same_length(["center", "node"], center, node);
    add_difference(grads, center, node, 1.0);
}

/// The node's control variate after a round, SCAFFOLD's option II:
/// `c_k ← c_k − c + (x − w)/(steps·lr)`.
///
/// `steps` are all local steps of the round, `lr` their learning rate (of a schedule, the mean).
///
/// # Panics
/// If the lengths differ, or `steps·lr` is not above 0.
///
/// ```
/// // Two steps of 0.5 along the gradient 3: the variate becomes that gradient.
/// let mut node = [0.0];
/// optim::control_variate_update(&mut node, &[0.0], &[7.0], &[4.0], 2, 0.5);
/// assert_eq!(node, [3.0]);
/// ```
pub fn control_variate_update(
    node: &mut [f32],
    center: &[f32],
    global: &[f32],
    params: &[f32],
    steps: u64,
    lr: f32,
) {
    check_same_length(["node", "center"], node, center);
    check_same_length(["node", "global"], node, global);
    check_same_length(["global", "params"], global, params);
    let length = steps as f64 * f64::from(lr);
    assert!(length > 0.0, "{steps} steps with learning rate {lr}: both must be above 0");
    add_scaled(node, center, -1.0, None);
    add_difference(node, global, params, (1.0 / length) as f32);
}

/// Adds the gradient of the dynamic regularizer of `FedDyn`: `g ← g − h_k + alpha·(w − x)`, with
/// `h_k` what the node remembers of earlier rounds.
///
/// Acar et al., <https://arxiv.org/abs/2111.04263>.
///
/// # Panics
/// If the lengths differ.
///
/// ```
/// let mut grads = [1.0];
/// optim::dynamic_regularizer(&mut grads, &[3.0], &[1.0], &[0.25], 0.5);
/// assert_eq!(grads, [1.75]);
/// ```
pub fn dynamic_regularizer(
    grads: &mut [f32],
    params: &[f32],
    global: &[f32],
    memory: &[f32],
    alpha: f32,
) {
    check_same_length(["grads", "memory"], grads, memory);
    add_scaled(grads, memory, -1.0, None);
    proximal(grads, params, global, alpha);
}

/// What a node remembers after a round of `FedDyn`: `h_k ← h_k − alpha·(w − x)`.
///
/// # Panics
/// If the lengths differ.
pub fn dynamic_regularizer_update(memory: &mut [f32], params: &[f32], global: &[f32], alpha: f32) {
    proximal(memory, params, global, -alpha);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stationary_node_remembers_its_gradient() {
        // Where g − h_k + alpha·(w − x) = 0, the new h_k is g.
        let (g, x, h, alpha) = (0.75_f32, 2.0, 0.5, 0.25);
        let w = x + (h - g) / alpha;
        let mut grads = [g];
        dynamic_regularizer(&mut grads, &[w], &[x], &[h], alpha);
        testkit::assert_close("grads", &grads, &[0.0], 0.0, 1e-6);
        let mut memory = [h];
        dynamic_regularizer_update(&mut memory, &[w], &[x], alpha);
        testkit::assert_close("memory", &memory, &[g], 1e-6, 0.0);
    }

    #[test]
    fn variates_of_one_node_cancel() {
        // With c = c_k the step is that of plain descent.
        let mut grads = testkit::sequence(1, 33);
        let (before, variate) = (grads.clone(), testkit::sequence(2, 33));
        control_variate(&mut grads, &variate, &variate);
        testkit::assert_same_bits("grads", &grads, &before);
    }

    #[test]
    #[should_panic(expected = "params has 2 and global has 1 elements")]
    fn lengths_must_agree() {
        proximal(&mut [0.0; 2], &[0.0; 2], &[0.0], 1.0);
    }
}
