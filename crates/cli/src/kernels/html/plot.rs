//! The roofline: operations per byte against operations per second, both by powers of ten.

use std::fmt::Write as _;

use super::format::{bytes_per_second, escape, flops, percent, seconds, working_set};
use crate::kernels::report::{Ceilings, Record, Report};

const WIDTH: f64 = 1060.0;
const HEIGHT: f64 = 540.0;
const LEFT: f64 = 92.0;
const RIGHT: f64 = 190.0;
const TOP: f64 = 18.0;
const BOTTOM: f64 = 54.0;
/// Roofs' labels are at least so far apart.
const LINE: f64 = 15.0;

/// Ops of a kind share a colour.
const KINDS: [(&str, &[&str]); 5] = [
    ("products", &["product"]),
    ("attention", &["attention"]),
    ("MLP and convolutions", &["MLP", "convolution", "transposed convolution"]),
    ("norms, softmax, FiLM", &["layer norm", "softmax", "FiLM"]),
    ("pixels and maps", &[]),
];

fn kind(op: &str) -> usize {
    KINDS.iter().position(|(_, ops)| ops.contains(&op)).unwrap_or(KINDS.len() - 1)
}

/// Places on the page by powers of ten.
struct Axes {
    /// The exponents of the least and the most of each.
    x: [f64; 2],
    y: [f64; 2],
}

impl Axes {
    fn of(records: &[&Record], ceilings: &Ceilings) -> Option<Self> {
        let intensities: Vec<_> = records.iter().map(|record| intensity(record)).collect();
        let rates: Vec<_> = records.iter().map(|record| record.flops_per_second()).collect();
        let least = |values: &[f64]| values.iter().copied().fold(f64::INFINITY, f64::min);
        let most = |values: &[f64]| values.iter().copied().fold(0.0, f64::max);
        let highest = most(&roofs(ceilings).map(|(_, rate)| rate).collect::<Vec<_>>());
        let fastest = bandwidths(ceilings).first().map(|(_, rate)| *rate)?;
        let x = [
            least(&intensities).log10().floor(),
            (most(&intensities).max(2.0 * highest / fastest)).log10().ceil(),
        ];
        let y = [least(&rates).log10().floor(), (1.6 * highest.max(most(&rates))).log10()];
        let axes = Self { x, y };
        let is_drawn =
            [axes.x, axes.y].iter().all(|[from, to]| from.is_finite() && to.is_finite() && from < to);
        is_drawn.then_some(axes)
    }

    fn x(&self, value: f64) -> f64 {
        let [from, to] = self.x;
        LEFT + (value.log10() - from) / (to - from) * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        let [from, to] = self.y;
        HEIGHT - BOTTOM - (value.log10() - from) / (to - from) * (HEIGHT - TOP - BOTTOM)
    }
}

fn intensity(record: &Record) -> f64 {
    record.flops as f64 / record.bytes as f64
}

/// Rates of arithmetic, by name.
fn roofs(ceilings: &Ceilings) -> impl Iterator<Item = (&'static str, f64)> {
    let all = [
        ("f32", Some(ceilings.f32_flops)),
        ("f16", ceilings.f16_flops),
        ("matrix units", ceilings.matrix_flops),
    ];
    all.into_iter().filter_map(|(name, rate)| Some((name, rate?)))
}

/// The rate of the fastest working set, and of the largest where it is another.
fn bandwidths(ceilings: &Ceilings) -> Vec<(u64, f64)> {
    let rates =
        ceilings.memory.iter().map(|rates| (rates.bytes, rates.read.max(rates.write).max(rates.copy)));
    let rates: Vec<_> = rates.collect();
    let fastest = rates.iter().copied().max_by(|a, b| a.1.total_cmp(&b.1));
    let largest = rates.last().copied().filter(|own| Some(*own) != fastest);
    fastest.into_iter().chain(largest).collect()
}

/// The figure; none where there is nothing to draw, as without ceilings.
pub fn figure(report: &Report) -> Option<String> {
    let ceilings = report.ceilings.as_ref()?;
    // What computes nothing has no place on an axis of powers.
    let is_drawn =
        |record: &&Record| record.flops > 0 && record.bytes > 0 && record.flops_per_second().is_finite();
    let records: Vec<_> = report.records.iter().filter(is_drawn).collect();
    let axes = Axes::of(&records, ceilings)?;
    let mut svg = String::new();
    let label = "Roofline: operations per second against operations per byte";
    // Writing to a string does not fail.
    let _ = write!(svg, r#"<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">"#);
    grid(&mut svg, &axes);
    let labels = ceilings_of(&mut svg, &axes, ceilings);
    // Those that the engine takes by itself lie above the others, and what is wrong above all.
    let mut records = records;
    records.sort_by_key(|record| (!record.check.is_right, record.is_default));
    for record in records {
        point(&mut svg, &axes, record);
    }
    svg.push_str(&labels);
    svg.push_str("</svg>");
    Some(format!("{svg}{}", legend()))
}

fn grid(svg: &mut String, axes: &Axes) {
    let [left, right, top, bottom] = [LEFT, WIDTH - RIGHT, TOP, HEIGHT - BOTTOM];
    for exponent in axes.x[0] as i32..=axes.x[1] as i32 {
        let x = axes.x(10_f64.powi(exponent));
        let text = if (-3..=5).contains(&exponent) {
            format!("{}", 10_f64.powi(exponent))
        } else {
            format!("1e{exponent}")
        };
        let _ = write!(
            svg,
            r#"<path class="grid" d="M{x:.1} {top}V{bottom}"/><text class="axis" x="{x:.1}" y="{:.1}" text-anchor="middle">{text}</text>"#,
            bottom + 20.0
        );
    }
    for exponent in axes.y[0].ceil() as i32..=axes.y[1].floor() as i32 {
        let rate = 10_f64.powi(exponent);
        let y = axes.y(rate);
        let _ = write!(
            svg,
            r#"<path class="grid" d="M{left} {y:.1}H{right}"/><text class="axis" x="{:.1}" y="{:.1}" text-anchor="end">{}</text>"#,
            left - 10.0,
            y + 4.0,
            short(rate)
        );
    }
    let _ = write!(
        svg,
        r#"<text class="axis" x="{:.1}" y="{:.1}" text-anchor="middle">FLOP per byte of operands</text>"#,
        (left + right) / 2.0,
        HEIGHT - 10.0
    );
}

/// A power of ten without what is behind its point.
fn short(rate: f64) -> String {
    flops(rate).replacen(".00", "", 1).replacen(".0", "", 1)
}

/// Draws the lines, and gives their labels, which lie above the marks.
fn ceilings_of(svg: &mut String, axes: &Axes, ceilings: &Ceilings) -> String {
    let mut texts = String::new();
    let bandwidths = bandwidths(ceilings);
    let Some(&(_, fastest)) = bandwidths.first() else { return texts };
    let highest = roofs(ceilings).map(|(_, rate)| rate).fold(0.0, f64::max);
    let [x_least, y_least] = [axes.x[0], axes.y[0]].map(|exponent| 10_f64.powf(exponent));
    let x_most = 10_f64.powf(axes.x[1]);
    for &(bytes, rate) in &bandwidths {
        let from = x_least.max(y_least / rate);
        let to = (highest / rate).min(x_most);
        if from >= to {
            continue;
        }
        let [x0, y0, x1, y1] = [axes.x(from), axes.y(rate * from), axes.x(to), axes.y(rate * to)];
        let _ = write!(svg, r#"<path class="roof memory" d="M{x0:.1} {y0:.1}L{x1:.1} {y1:.1}"/>"#);
        let angle = (y1 - y0).atan2(x1 - x0).to_degrees();
        // Along the line, a little up from its begin, on the side where the other one is not.
        let is_above = rate >= fastest;
        let (x, y) = (x0 + 0.04 * (x1 - x0), y0 + 0.04 * (y1 - y0));
        let shift = if is_above { -7.0 } else { 17.0 };
        let _ = write!(
            texts,
            r#"<text class="rooflabel halo" transform="translate({x:.1} {y:.1}) rotate({angle:.1})" y="{shift}">{}, {}</text>"#,
            bytes_per_second(rate),
            working_set(bytes)
        );
    }
    let mut labels: Vec<_> = roofs(ceilings).collect();
    labels.sort_by(|a, b| b.1.total_cmp(&a.1));
    let mut above = f64::NEG_INFINITY;
    for (name, rate) in labels {
        let (x, y, right) = (axes.x((rate / fastest).max(x_least)), axes.y(rate), WIDTH - RIGHT);
        let line = (y + 4.0).max(above + LINE);
        above = line;
        let _ = write!(
            svg,
            r#"<path class="roof" d="M{x:.1} {y:.1}H{right}"/><text class="rooflabel" x="{:.1}" y="{line:.1}">{name}, {}</text>"#,
            right + 8.0,
            flops(rate)
        );
    }
    texts
}

fn point(svg: &mut String, axes: &Axes, record: &Record) {
    let (x, y) = (axes.x(intensity(record)), axes.y(record.flops_per_second()));
    let share = record.share_of_ceiling().map(|share| format!(", {} of the ceiling", percent(share)));
    let right = if record.check.is_right { "" } else { "; WRONG NUMBERS" };
    let lines = [
        format!("{}, {}", record.op, record.shape),
        format!("{} ({})", record.form(), record.configuration),
        format!(
            "{}: {}{}{right}",
            seconds(record.seconds()),
            flops(record.flops_per_second()),
            share.unwrap_or_default()
        ),
    ];
    let title = lines.map(|line| escape(&line)).join("\n");
    let kind = kind(&record.op);
    let shape = if !record.check.is_right {
        let (a, b, c, d) = (x - 5.0, x + 5.0, y - 5.0, y + 5.0);
        format!(r#"<path class="cross" d="M{a:.1} {c:.1}L{b:.1} {d:.1}M{a:.1} {d:.1}L{b:.1} {c:.1}"/>"#)
    } else {
        let fill = if record.is_default { format!("f{kind}") } else { "open".to_owned() };
        format!(r#"<circle class="point s{kind} {fill}" cx="{x:.1}" cy="{y:.1}" r="4.5"/>"#)
    };
    let _ = write!(svg, "<g><title>{title}</title>{shape}</g>");
}

fn legend() -> String {
    let mark = |inner: &str| format!(r#"<svg viewBox="0 0 12 12" aria-hidden="true">{inner}</svg>"#);
    let mut items = String::new();
    for (kind, (name, _)) in KINDS.iter().enumerate() {
        let circle = mark(&format!(r#"<circle class="s{kind} f{kind}" cx="6" cy="6" r="4.5"/>"#));
        let _ = write!(items, "<li>{circle}{name}</li>");
    }
    let filled = mark(r#"<circle class="axis" cx="6" cy="6" r="4.5"/>"#);
    let open = mark(r#"<circle class="grid open" cx="6" cy="6" r="4.5" style="stroke:var(--muted)"/>"#);
    let cross = mark(r#"<path class="cross" d="M2 2L10 10M2 10L10 2"/>"#);
    format!(
        r#"<ul class="legend">{items}<li>{filled}what the engine takes</li><li>{open}another form</li><li>{cross}wrong numbers</li></ul>"#
    )
}
