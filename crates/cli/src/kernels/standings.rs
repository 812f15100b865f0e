//! How much of an adapter's own best each form reaches, over all shapes that it takes: what the choice of a
//! default is judged by.

use super::report::{Record, Report};

/// A form of an op, over shapes.
pub struct Standing {
    pub op: String,
    /// Its kernels, and whether weights are in 16 bits.
    pub form: String,
    pub is_f16: bool,
    /// Where it is from, if it is another's.
    pub origin: Option<String>,
    /// The shapes that it was right at, and the share of the adapter's best there.
    pub shares: Vec<(String, f64)>,
}

impl Standing {
    /// Over all shapes.
    pub fn mean(&self) -> f64 {
        self.shares.iter().map(|(_, share)| share).sum::<f64>() / self.shares.len().max(1) as f64
    }

    /// The shape that it is worst at.
    pub fn worst(&self) -> Option<&(String, f64)> {
        self.shares.iter().min_by(|a, b| a.1.total_cmp(&b.1))
    }

    /// The number of shapes at which nothing is faster.
    pub fn wins(&self) -> usize {
        self.shares.iter().filter(|(_, share)| *share >= 1.0).count()
    }

    /// What it is called.
    pub fn name(&self) -> String {
        let origin = self.origin.as_ref().map(|origin| format!(", of {origin}")).unwrap_or_default();
        format!("{}, {}{origin}", self.form, if self.is_f16 { "f16" } else { "f32" })
    }

    fn is_of(&self, record: &Record) -> bool {
        self.op == record.op
            && self.form == record.form()
            && self.is_f16 == record.is_f16()
            && self.origin == record.origin
    }
}

/// All forms that have a rival at some shape, by op, those with the best mean first.
pub fn standings(report: &Report) -> Vec<Standing> {
    let mut standings: Vec<Standing> = Vec::new();
    for record in report.records.iter().filter(|record| record.check.is_right) {
        let has_rival = report.records.iter().any(|other| {
            (&other.op, &other.shape, other.is_f16()) == (&record.op, &record.shape, record.is_f16())
                && (other.form(), &other.origin) != (record.form(), &record.origin)
        });
        let Some(share) = report.share_of_best(record).filter(|_| has_rival) else { continue };
        let place = standings.iter().position(|known| known.is_of(record)).unwrap_or(standings.len());
        if place == standings.len() {
            standings.push(Standing {
                op: record.op.clone(),
                form: record.form(),
                is_f16: record.is_f16(),
                origin: record.origin.clone(),
                shares: Vec::new(),
            });
        }
        standings[place].shares.push((record.shape.clone(), share));
    }
    let first = |op: &str| report.records.iter().position(|record| record.op == op);
    standings.sort_by(|a, b| {
        let keys = |own: &Standing| (first(&own.op), own.is_f16);
        keys(a).cmp(&keys(b)).then(b.mean().total_cmp(&a.mean()))
    });
    standings
}

/// The engine's own choices that another form of the same precision beats by more than a twentieth, the worst
/// first, each with the share that it has of the best, and that.
pub fn losses(report: &Report) -> Vec<(&Record, f64, &Record)> {
    let mut losses: Vec<_> = defaults(report).filter(|(_, share, _)| *share < 0.95).collect();
    losses.sort_by(|a, b| a.1.total_cmp(&b.1));
    losses
}

/// The engine's own choices that have a right form to be held against, with the share that they have of it.
pub fn defaults(report: &Report) -> impl Iterator<Item = (&Record, f64, &Record)> {
    report
        .records
        .iter()
        .filter(|record| record.is_default)
        .filter_map(|record| Some((record, report.share_of_best(record)?, report.best(record)?)))
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::{record, report};
    use super::*;

    #[test]
    fn forms_are_judged_by_the_best_at_each_shape() {
        let report = report(vec![
            record("product", "M 4", "matmul_tile_vec4", 2e-3),
            record("product", "M 4", "matmul_tile", 1e-3),
            record("product", "M 8", "matmul_tile_vec4", 1e-3),
            record("product", "M 8", "matmul_tile", 4e-3),
            record("softmax", "R 4", "softmax", 1e-3),
        ]);
        let standings = standings(&report);
        let rows: Vec<_> = standings
            .iter()
            .map(|it| (it.name(), it.mean(), it.worst().unwrap().clone(), it.wins()))
            .collect();
        assert_eq!(rows.len(), 2, "what has no rival has no standing: {rows:?}");
        assert_eq!(rows[0], ("matmul_tile_vec4, f32".to_owned(), 0.75, ("M 4".to_owned(), 0.5), 1));
        assert_eq!(rows[1], ("matmul_tile, f32".to_owned(), 0.625, ("M 8".to_owned(), 0.25), 1));
        let losses = losses(&report);
        assert_eq!(losses.len(), 1);
        assert_eq!((losses[0].0.shape.as_str(), losses[0].1), ("M 4", 0.5));
        assert_eq!(losses[0].2.form(), "matmul_tile");
    }
}
