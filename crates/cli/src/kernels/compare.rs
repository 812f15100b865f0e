//! Two reports side by side, as text.

use super::html::format::{percent, seconds};
use super::report::{Record, Report};
use super::standings::{self, Standing};
use crate::table::{self, Align};

/// Everything that two reports say of each other.
pub fn text(reports: [&Report; 2]) -> String {
    let [a, b] = reports;
    let name = |report: &Report| {
        let commit = report.engine.commit.as_deref().unwrap_or("commit not recorded");
        let software = if report.adapter.is_software { ", a software driver" } else { "" };
        let Report { adapter, date, .. } = report;
        format!("{} ({} {}{software}), {date}, {commit}", adapter.name, adapter.driver, adapter.driver_info)
    };
    let mut text = format!("A: {}\nB: {}\n", name(a), name(b));
    text += "\nThe share of its own best that each adapter has by each form, over the shapes of each; forms in f32 and f16 \
             apart\n\n";
    text += &shares(reports);
    text += "\nThe engine's own choices, the furthest from the best first\n\n";
    text += &defaults(reports);
    if a.adapter.name == b.adapter.name && a.adapter.backend == b.adapter.backend {
        text += "\nThe same adapter: how long B takes of the time of A, the slower first\n\n";
        text += &ratios(reports);
    } else {
        text += "\nTwo adapters: their times say nothing of each other\n";
    }
    text
}

/// Mean and worst of each form on each, and of both together.
fn shares([a, b]: [&Report; 2]) -> String {
    let all = [standings::standings(a), standings::standings(b)];
    let mut keys: Vec<(&str, String)> = Vec::new();
    for standing in all.iter().flatten() {
        let key = (standing.op.as_str(), standing.name());
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    let mut rows: Vec<(f64, [String; 8])> = Vec::new();
    for (op, name) in keys {
        let own = |standings: &[Standing]| -> Vec<f64> {
            let own = standings.iter().find(|it| it.op == op && it.name() == name);
            own.map(|it| it.shares.iter().map(|(_, share)| *share).collect()).unwrap_or_default()
        };
        let [in_a, in_b] = [own(&all[0]), own(&all[1])];
        let both: Vec<_> = in_a.iter().chain(&in_b).copied().collect();
        let [mean_a, worst_a] = mean_and_worst(&in_a);
        let [mean_b, worst_b] = mean_and_worst(&in_b);
        let [mean, worst] = mean_and_worst(&both);
        let order = both.iter().sum::<f64>() / both.len() as f64;
        rows.push((order, [op.to_owned(), name, mean_a, worst_a, mean_b, worst_b, mean, worst]));
    }
    rows.sort_by(|a, b| a.1[0].cmp(&b.1[0]).then(b.0.total_cmp(&a.0)));
    let heading = ["op", "form", "A mean", "worst", "B mean", "worst", "both mean", "worst"];
    let rows: Vec<_> =
        std::iter::once(heading.map(str::to_owned)).chain(rows.into_iter().map(|(_, row)| row)).collect();
    let [left, right] = [Align::Left, Align::Right];
    table::render([left, left, right, right, right, right, right, right], &rows)
}

fn mean_and_worst(shares: &[f64]) -> [String; 2] {
    if shares.is_empty() {
        return ["–", "–"].map(str::to_owned);
    }
    let mean = shares.iter().sum::<f64>() / shares.len() as f64;
    [percent(mean), percent(shares.iter().copied().fold(f64::INFINITY, f64::min))]
}

/// What the engine's own choices reach of the best at each shape, in both.
fn defaults(reports: [&Report; 2]) -> String {
    let of = |report: &Report| -> Vec<(String, String, f64)> {
        let row = |(own, share, _): (&Record, f64, &Record)| {
            (format!("{}, {}", own.op, own.shape), own.configuration.clone(), share)
        };
        standings::defaults(report).map(row).collect()
    };
    let [a, b] = reports.map(of);
    let mut rows = Vec::new();
    let find = |all: &[(String, String, f64)], key: (&str, &str)| {
        all.iter().find(|own| (own.0.as_str(), own.1.as_str()) == key).map(|own| own.2)
    };
    for (shape, configuration, share) in &a {
        let other = find(&b, (shape, configuration));
        rows.push((shape, configuration, Some(*share), other));
    }
    for (shape, configuration, share) in &b {
        if find(&a, (shape, configuration)).is_none() {
            rows.push((shape, configuration, None, Some(*share)));
        }
    }
    let least = |row: &(&String, &String, Option<f64>, Option<f64>)| {
        [row.2, row.3].into_iter().flatten().fold(f64::INFINITY, f64::min)
    };
    rows.sort_by(|a, b| least(a).total_cmp(&least(b)));
    let shown = |share: Option<f64>| share.map_or("–".to_owned(), percent);
    let heading = ["shape", "configuration", "A", "B"].map(str::to_owned);
    let rows = rows
        .into_iter()
        .map(|(shape, configuration, a, b)| [shape.clone(), configuration.clone(), shown(a), shown(b)]);
    let rows: Vec<_> = std::iter::once(heading).chain(rows).collect();
    table::render([Align::Left, Align::Left, Align::Right, Align::Right], &rows)
}

/// B's time by A's for each form of both.
fn ratios([a, b]: [&Report; 2]) -> String {
    let mut pairs = Vec::new();
    for own in &a.records {
        let is_same = |other: &&Record| {
            (&other.op, &other.shape, other.form(), &other.configuration, &other.origin)
                == (&own.op, &own.shape, own.form(), &own.configuration, &own.origin)
        };
        if let Some(other) = b.records.iter().find(is_same) {
            pairs.push((other.seconds() / own.seconds(), own, other));
        }
    }
    pairs.retain(|(ratio, ..)| ratio.is_finite() && *ratio > 0.0);
    if pairs.is_empty() {
        return "no form is in both\n".to_owned();
    }
    pairs.sort_by(|a, b| b.0.total_cmp(&a.0));
    // How fast a wrong answer comes says nothing.
    let right: Vec<f64> = pairs
        .iter()
        .filter(|(_, own, other)| own.check.is_right && other.check.is_right)
        .map(|(ratio, ..)| *ratio)
        .collect();
    let mean = (right.iter().map(|ratio| ratio.ln()).sum::<f64>() / right.len().max(1) as f64).exp();
    let slower = right.iter().filter(|ratio| **ratio > 1.05).count();
    let faster = right.iter().filter(|ratio| **ratio < 1.0 / 1.05).count();
    let row = |(ratio, own, other): &(f64, &Record, &Record)| {
        let wrong = match (own.check.is_right, other.check.is_right) {
            (true, true) => "",
            (true, false) => ", WRONG in B",
            (false, true) => ", WRONG in A",
            (false, false) => ", WRONG in both",
        };
        [
            format!("{}, {}", own.op, own.shape),
            format!("{} ({}){wrong}", own.form(), own.configuration),
            seconds(own.seconds()),
            seconds(other.seconds()),
            format!("{ratio:.2}"),
        ]
    };
    let heading = ["shape", "form", "A", "B", "B / A"].map(str::to_owned);
    let rows: Vec<_> = std::iter::once(heading).chain(pairs.iter().map(row)).collect();
    format!(
        "{}\n{} forms that are right in both: {slower} slower and {faster} faster by more than 5 %; the geometric mean of B / A is {mean:.3}\n",
        table::render([Align::Left, Align::Left, Align::Right, Align::Right, Align::Right], &rows),
        right.len()
    )
}

#[cfg(test)]
mod tests {
    use super::super::report::Check;
    use super::super::report::tests::{record, report};
    use super::*;

    fn sample(tile: f64, vec4: f64) -> Report {
        report(vec![
            record("product", "M 4", "matmul_tile_vec4", vec4),
            record("product", "M 4", "matmul_tile", tile),
            record("product", "M 8", "matmul_tile_vec4", 1e-3),
            record("product", "M 8", "matmul_tile", 4e-3),
        ])
    }

    #[test]
    fn forms_are_judged_on_each_adapter_by_its_own_best() {
        let mut other = sample(1e-3, 4e-3);
        other.adapter.name = "Another Card".to_owned();
        let text = text([&sample(2e-3, 1e-3), &other]);
        // In A the one is always the best; in B it has a quarter of the best at one shape.
        let line = text.lines().find(|line| line.contains("matmul_tile_vec4, f32")).unwrap();
        let cells: Vec<_> = line.split("  ").filter(|cell| !cell.trim().is_empty()).map(str::trim).collect();
        assert_eq!(cells[2..], ["100 %", "100 %", "62 %", "25 %", "81 %", "25 %"], "{text}");
        assert!(text.contains("Two adapters") && !text.contains("B / A"), "{text}");
    }

    #[test]
    fn times_of_one_adapter_are_set_against_each_other() {
        let mut later = sample(2e-3, 2e-3);
        later.records[1].check = Check::new(Some(1.0), 1e-4);
        let text = text([&sample(2e-3, 1e-3), &later]);
        let line = text.lines().find(|line| line.ends_with("2.00")).unwrap();
        assert!(line.contains("matmul_tile_vec4 (workgroup, f32)") && line.contains("1.00 ms"), "{text}");
        assert!(text.contains("3 forms that are right in both: 1 slower and 0 faster"), "{text}");
        assert!(text.contains("is 1.260") && text.contains("WRONG in B"), "{text}");
        assert!(super::text([&later, &sample(2e-3, 1e-3)]).contains("WRONG in A"));
    }

    /// Two versions of one kernel have the same form.
    #[test]
    fn rivals_of_one_form_are_kept_apart() {
        let mut rivals = sample(2e-3, 1e-3);
        for (record, origin) in rivals.records.iter_mut().take(2).zip(["v1", "v2"]) {
            record.kernels = vec!["theirs".to_owned()];
            record.origin = Some(origin.to_owned());
        }
        let text = text([&rivals, &rivals]);
        assert!(text.contains("0 slower and 0 faster") && text.contains("is 1.000"), "{text}");
        assert!(text.contains("theirs, f32, of v1") && text.contains("theirs, f32, of v2"), "{text}");
    }
}
