//! Which windows of each class are drawn.

/// Most windows of a class.
pub(super) const MOST_WINDOWS: usize = 3;

/// Of each class the places of its windows to draw, by the class and the answer of every window: at most three,
/// right answers first, and one wrong answer where there is any; spread evenly over those there are.
pub(super) fn chosen(answers: &[(usize, usize)], n_classes: usize) -> Vec<Vec<usize>> {
    let mut right: Vec<Vec<usize>> = vec![Vec::new(); n_classes];
    let mut wrong = right.clone();
    for (window, &(class, answer)) in answers.iter().enumerate() {
        let list = if class == answer { &mut right } else { &mut wrong };
        list[class].push(window);
    }
    let of_class = |(right, wrong): (Vec<usize>, Vec<usize>)| {
        let n_wrong = wrong.len().min(MOST_WINDOWS.saturating_sub(right.len()).max(1));
        let mut windows = spread(&right, MOST_WINDOWS - n_wrong);
        windows.extend(spread(&wrong, n_wrong));
        windows
    };
    right.into_iter().zip(wrong).map(of_class).collect()
}

/// At most `n` of a list, from the middle of equal parts of it.
fn spread(list: &[usize], n: usize) -> Vec<usize> {
    let n = n.min(list.len());
    (0..n).map(|i| list[(2 * i + 1) * list.len() / (2 * n)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn right_answers_come_first_and_a_wrong_one_is_shown() {
        let answers = [(0, 0), (0, 1), (0, 0), (1, 1), (0, 0), (0, 0), (0, 2), (1, 1), (2, 0)];
        let found = chosen(&answers, 4);
        assert_eq!(found[0], [2, 5, 6], "two of four that are right, one of two that are wrong");
        assert_eq!(found[1..], [vec![3, 7], vec![8], vec![]]);
        let all_right: Vec<(usize, usize)> = vec![(0, 0); 9];
        assert_eq!(chosen(&all_right, 1), [[1, 4, 7]]);
        let all_wrong: Vec<(usize, usize)> = vec![(0, 1); 4];
        assert_eq!(chosen(&all_wrong, 2)[0].len(), 3);
    }
}
