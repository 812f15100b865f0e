//! The page's tables.

use std::fmt::Write as _;

use super::format::{
    bytes, bytes_per_second, escape, flops, operations, percent, scientific, seconds, working_set,
};
use crate::kernels::report::{Ceilings, Limit, Record, Report};
use crate::kernels::standings;

/// A table with a heading, in a box that scrolls where it is too wide. The columns of `left` are words.
fn table(heading: &[&str], left: &[usize], rows: &str) -> String {
    let head: String = heading
        .iter()
        .enumerate()
        .map(|(place, text)| {
            format!("<th{}>{text}</th>", if left.contains(&place) { " class=\"left\"" } else { "" })
        })
        .collect();
    format!("<div class=\"scroll\"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>")
}

/// The engine's own choices that are not the fastest, the worst first.
pub fn losses(report: &Report) -> String {
    let losses = standings::losses(report);
    if losses.is_empty() {
        return "<p>Nowhere by more than 5 %.</p>".to_owned();
    }
    let mut rows = String::new();
    for (own, share, best) in &losses {
        // Writing to a string does not fail.
        let _ = write!(
            rows,
            "<tr><td class=\"left\">{}<small>{}</small></td><td class=\"left wrap\"><code>{}</code><small>{}</small></td><td>{}</td>\
             <td class=\"left wrap\"><code>{}</code><small>{}</small></td><td>{}</td><td>{:.2} ×</td></tr>",
            escape(&own.op),
            escape(&own.shape),
            escape(&own.form()),
            escape(&own.configuration),
            seconds(own.seconds()),
            escape(&best.form()),
            escape(&best.configuration),
            seconds(best.seconds()),
            1.0 / share
        );
    }
    let text = "The engine chooses a kernel by itself, from the family that it takes on this adapter. Here another form with \
                weights stored alike is faster by more than 5 %. Of products, attention, layer norm and \
                softmax <code>--tune-kernels</code> would take the best of the same family; matrix units have to be asked for.";
    let heading = ["op", "the engine takes", "time", "faster is", "time", "factor"];
    format!("<p>{text}</p><div class=\"card\">{}</div>", table(&heading, &[0, 1, 3], &rows))
}

/// What each form reaches of the best at each shape.
pub fn standings(report: &Report) -> String {
    let standings = standings::standings(report);
    if standings.is_empty() {
        return "<p>No op has more than one form here.</p>".to_owned();
    }
    let mut rows = String::new();
    for standing in &standings {
        let worst = standing.worst().cloned().unwrap_or_default();
        let _ = write!(
            rows,
            "<tr><td class=\"left wrap\"><code>{}</code><small>{}</small></td><td>{}</td><td>{}</td><td>{}</td><td>{}<small>{}</small></td></tr>",
            escape(&standing.name()),
            escape(&standing.op),
            standing.shares.len(),
            standing.wins(),
            bar(standing.mean()),
            percent(worst.1),
            escape(&worst.0)
        );
    }
    let text = "At each shape the fastest right form is 100 %. A default that serves many adapters has a high mean and no \
                bad worst.";
    let heading = ["form", "shapes", "fastest at", "mean", "worst"];
    format!("<p>{text}</p><div class=\"card\">{}</div>", table(&heading, &[0], &rows))
}

fn bar(share: f64) -> String {
    let width = (1e2 * share).clamp(0.0, 100.0);
    let width = if width.is_finite() { width } else { 0.0 };
    format!("<span class=\"bar\"><i style=\"width:{width:.1}%\"></i></span>{}", percent(share))
}

/// Every form of every op at every shape, the fastest first.
pub fn groups(report: &Report) -> String {
    let mut all = String::new();
    for group in report.groups() {
        let first = group[0];
        let rows: String = group.iter().map(|record| row(report, record)).collect();
        let formula = match &first.bytes_formula {
            Some(formula) => format!("{} bytes", escape(formula)),
            None => "bytes of each kernel of the form".to_owned(),
        };
        let heading = [
            "form",
            "GPU median",
            "p95",
            "wall",
            "FLOP/s",
            "bytes",
            "of its ceiling",
            "of the best",
            "worst value",
        ];
        let _ = writeln!(
            all,
            "<div class=\"card\"><div class=\"group\"><h3>{}, {}</h3><span class=\"muted\">{}; {}</span></div>\
             <div class=\"muted\">{} FLOP = {}; {formula}</div>{}</div>",
            escape(&first.op),
            escape(&first.shape),
            escape(&first.layer),
            escape(&first.source).replace("https://", ""),
            escape(&first.flops_formula),
            operations(first.flops),
            table(&heading, &[0], &rows)
        );
    }
    let text = "Those that the engine takes by itself are marked. Within a table forms in f32 and in f16 are sorted together, \
                and each is compared with those that store weights as it does.";
    format!("<p>{text}</p>{all}")
}

fn row(report: &Report, record: &Record) -> String {
    let types = &record.types;
    let weight = types.weight.as_ref().map(|weight| format!(" × {weight}")).unwrap_or_default();
    let units = if types.on_matrix_units { ", matrix units" } else { "" };
    let sums = match record.origin {
        None => format!(", sums in {}", types.accumulator),
        // Nobody here knows.
        Some(_) => String::new(),
    };
    let types = format!("{}{weight} → {}{sums}{units}", types.input, types.output);
    let tag = match &record.origin {
        Some(folder) => format!("<span class=\"tag\">another's</span> {}", escape(folder)),
        None if record.is_default => "<span class=\"tag\">the engine's own</span>".to_owned(),
        None => String::new(),
    };
    let [median, p95] = match &record.gpu {
        Some(gpu) => [seconds(gpu.median_seconds), seconds(gpu.p95_seconds)],
        None => ["–", "–"].map(str::to_owned),
    };
    let by = |limit| if limit == Limit::Compute { "compute" } else { "memory" };
    let ceiling = match (record.bound, record.share_of_ceiling()) {
        (Some(bound), Some(share)) => format!("{}<small>{}</small>", percent(share), by(bound.by)),
        _ => "–".to_owned(),
    };
    let check = match record.check.worst {
        Some(worst) => scientific(worst),
        None => "not a number".to_owned(),
    };
    let verdict = if record.check.is_right { "right" } else { "WRONG" };
    let class = if record.check.is_right { "" } else { " class=\"wrong\"" };
    let best = match report.share_of_best(record).filter(|_| record.check.is_right) {
        Some(share) => bar(share),
        None => "–".to_owned(),
    };
    let rate = if record.flops > 0 { flops(record.flops_per_second()) } else { "–".to_owned() };
    let runs = match record.gpu.unwrap_or(record.wall).runs {
        1 => "1 run".to_owned(),
        runs => format!("{runs} runs"),
    };
    format!(
        "<tr><td class=\"form\"><code>{}</code><small>{}{tag}</small><small>{}</small></td><td>{median}<small>{runs}</small></td>\
         <td>{p95}</td><td>{}</td><td>{rate}</td><td>{}<small>{}</small></td><td>{ceiling}</td><td>{best}</td>\
         <td{class}>{check}<small>{verdict}, ≤ {}</small></td></tr>",
        escape(&record.form()),
        escape(&record.configuration),
        escape(&types),
        seconds(record.wall.median_seconds),
        bytes(record.bytes),
        bytes_per_second(record.bytes_per_second()),
        scientific(record.check.tolerance)
    )
}

/// The adapter's ceilings.
pub fn ceilings(ceilings: &Ceilings) -> String {
    let mut rows = String::new();
    let mut add = |name: &str, value: String| {
        let _ = write!(rows, "<tr><td class=\"left\">{name}</td><td>{value}</td></tr>");
    };
    add("f32 arithmetic, from registers", flops(ceilings.f32_flops));
    if let Some(rate) = ceilings.f16_flops {
        add("f16 arithmetic, from registers", flops(rate));
    }
    if let Some(rate) = ceilings.matrix_flops {
        add("matrix units, f16 with sums in f32", flops(rate));
    }
    add("workgroup memory, read", bytes_per_second(ceilings.workgroup_memory));
    add("a dispatch that waits for the one before", seconds(ceilings.dispatch_seconds));
    add("a submission, until the host knows", seconds(ceilings.submit_seconds));
    let units = table(&["what", "measured"], &[0], &rows);
    let mut rows = String::new();
    for rates in &ceilings.memory {
        let _ = write!(
            rows,
            "<tr><td class=\"left\">{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            working_set(rates.bytes),
            bytes_per_second(rates.read),
            bytes_per_second(rates.write),
            bytes_per_second(rates.copy)
        );
    }
    let memory = table(&["a buffer of", "read", "written", "copied"], &[0], &rows);
    format!(
        "<p>Measured before and after all else, the better of the two; not taken from its maker.</p><div class=\"card\">{units}</div><div class=\"card\">{memory}</div>"
    )
}
