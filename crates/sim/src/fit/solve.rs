//! Non-negative least squares.

/// Ridge: keeps the normal equations regular where a column depends on the others.
const RIDGE: f64 = 1e-12;

/// The non-negative constants that minimize the squared distance of the rows from 1.
pub(super) fn non_negative<const N: usize>(rows: impl Iterator<Item = [f64; N]>) -> [f64; N] {
    let (mut products, mut targets) = ([[0.0; N]; N], [0.0; N]);
    for row in rows {
        for (i, left) in row.iter().enumerate() {
            targets[i] += left;
            for (j, right) in row.iter().enumerate() {
                products[i][j] += left * right;
            }
        }
    }
    // Columns are normalized: context tokens and fixed times differ by six orders of magnitude.
    let scale: [f64; N] =
        std::array::from_fn(|i| if products[i][i] > 0.0 { products[i][i].sqrt() } else { 1.0 });
    for i in 0..N {
        targets[i] /= scale[i];
        for j in 0..N {
            products[i][j] /= scale[i] * scale[j];
        }
    }
    let scaled = lawson_hanson(&products, &targets);
    std::array::from_fn(|i| scaled[i] / scale[i])
}

/// The active-set method on the normal equations.
fn lawson_hanson<const N: usize>(products: &[[f64; N]; N], targets: &[f64; N]) -> [f64; N] {
    let (mut solution, mut free) = ([0.0; N], [false; N]);
    for _ in 0..3 * N {
        let gradient: [f64; N] = std::array::from_fn(|i| {
            targets[i]
                - products[i].iter().zip(&solution).map(|(product, value)| product * value).sum::<f64>()
        });
        let best = (0..N).filter(|i| !free[*i]).max_by(|a, b| gradient[*a].total_cmp(&gradient[*b]));
        let Some(entering) = best.filter(|i| gradient[*i] > 1e-9) else { break };
        free[entering] = true;
        for _ in 0..N {
            let candidate = solve_free(products, targets, &free);
            let negative = |i: &usize| free[*i] && candidate[*i] <= 0.0;
            let step = |i: usize| solution[i] / (solution[i] - candidate[i]);
            let Some(blocking) = (0..N).filter(negative).min_by(|a, b| step(*a).total_cmp(&step(*b))) else {
                solution = candidate;
                break;
            };
            let share = step(blocking).clamp(0.0, 1.0);
            for i in 0..N {
                solution[i] += share * (candidate[i] - solution[i]);
            }
            (solution[blocking], free[blocking]) = (0.0, false);
        }
    }
    solution
}

/// The unconstrained solution in the free constants, with the others at zero: Gaussian elimination with diagonal pivots,
/// which the ridge keeps positive.
fn solve_free<const N: usize>(products: &[[f64; N]; N], targets: &[f64; N], free: &[bool; N]) -> [f64; N] {
    // A fixed constant has an isolated row and column.
    let cell = |i: usize, j: usize| match (i == j, free[i] && free[j]) {
        (true, true) => products[i][j] + RIDGE,
        (true, false) => 1.0,
        (false, true) => products[i][j],
        (false, false) => 0.0,
    };
    let mut matrix: [[f64; N]; N] = std::array::from_fn(|i| std::array::from_fn(|j| cell(i, j)));
    let mut right: [f64; N] = std::array::from_fn(|i| if free[i] { targets[i] } else { 0.0 });
    for pivot in 0..N {
        let (pivot_row, pivot_right) = (matrix[pivot], right[pivot]);
        for row in pivot + 1..N {
            let factor = matrix[row][pivot] / pivot_row[pivot];
            for (cell, above) in matrix[row].iter_mut().zip(&pivot_row).skip(pivot) {
                *cell -= factor * above;
            }
            right[row] -= factor * pivot_right;
        }
    }
    let mut solution = [0.0; N];
    for row in (0..N).rev() {
        let known: f64 = (row + 1..N).map(|column| matrix[row][column] * solution[column]).sum();
        solution[row] = (right[row] - known) / matrix[row][row];
    }
    solution
}
