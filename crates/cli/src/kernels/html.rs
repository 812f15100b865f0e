//! The report as one page that needs nothing else: no script, no font, no picture from elsewhere.

pub mod format;
mod plot;
mod tables;

use std::fmt::Write as _;

use self::format::{escape, percent};
use super::report::{LeftOut, Report};
use super::standings;

const STYLE: &str = include_str!("html/style.css");

/// The whole page.
pub fn page(report: &Report) -> String {
    let adapter = &report.adapter;
    let title = format!("Kernels on {}", adapter.name);
    let mut page = String::new();
    // Writing to a string does not fail. The policy is for what may have been missed: nothing on the page can
    // load or run anything.
    let _ = write!(
        page,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n<h1>{title}</h1>\n",
        title = escape(&title)
    );
    page.push_str(&facts(report));
    page.push_str(&notices(report));
    page.push_str(&tiles(report));
    section(&mut page, "Where the engine's own choice loses", &tables::losses(report));
    match plot::figure(report) {
        Some(figure) => {
            let text = "Each mark is a form of an op at a shape, and says more when the pointer rests on it. The lines are what \
                        this adapter reached when its ceilings were measured: arithmetic from registers and, dashed, \
                        storage buffers of a size. A mark above them shows that the adapter can do more than that: a \
                        software driver, for one, reads textures faster than buffers.";
            section(&mut page, "Roofline", &format!("<p>{text}</p><figure>{figure}</figure>"));
        }
        None => {
            let text = "Not drawn: without timestamps the adapter's ceilings cannot be measured.";
            section(&mut page, "Roofline", &format!("<p>{text}</p>"));
        }
    }
    section(&mut page, "Share of this adapter's own best, by form", &tables::standings(report));
    section(&mut page, "All forms", &tables::groups(report));
    if let Some(ceilings) = &report.ceilings {
        section(&mut page, "What the adapter reaches at best", &tables::ceilings(ceilings));
    }
    section(&mut page, "How it was measured", &method(report));
    page.push_str("</main>\n</body>\n</html>\n");
    page
}

fn section(page: &mut String, title: &str, content: &str) {
    let _ = write!(page, "<section>\n<h2>{title}</h2>\n{content}\n</section>\n");
}

/// What ran where.
fn facts(report: &Report) -> String {
    let (adapter, engine) = (&report.adapter, &report.engine);
    let [least, most] = adapter.subgroup_lanes;
    let lanes = if least == most { least.to_string() } else { format!("{least} to {most}") };
    let facts = [
        ("kind", adapter.kind.clone()),
        ("backend", adapter.backend.clone()),
        ("driver", format!("{} {}", adapter.driver, adapter.driver_info)),
        ("lanes of a subgroup", lanes),
        ("clock", adapter.clock().to_owned()),
        ("engine", format!("clipseg {}", engine.version)),
        ("commit", engine.commit.clone().unwrap_or_else(|| "not recorded".to_owned())),
        ("checksum of the kernels", engine.kernels.clone()),
        ("date", report.date.clone()),
    ];
    let item = |(name, value): (&str, String)| format!("<li>{name} <b>{}</b></li>", escape(value.trim()));
    format!("<ul class=\"facts\">{}</ul>\n", facts.map(item).concat())
}

fn notices(report: &Report) -> String {
    let mut notices = String::new();
    if report.adapter.is_software {
        notices.push_str(
            "<p class=\"notice\"><b>A software driver.</b> It computes on the processor: these figures say nothing about a \
             GPU.</p>\n",
        );
    }
    let wrong: Vec<_> = report.wrong().collect();
    if !wrong.is_empty() {
        let all: Vec<_> = wrong
            .iter()
            .map(|record| escape(&format!("{} of {}, {}", record.form(), record.op, record.shape)))
            .collect();
        let _ = writeln!(
            notices,
            "<p class=\"notice bad\">Wrong numbers: {} of {} forms. {}.</p>",
            wrong.len(),
            report.records.len(),
            all.join("; ")
        );
    }
    for failure in &report.failures {
        let text = format!(
            "Could not be run: {}, {}, {}: {}",
            failure.op, failure.shape, failure.configuration, failure.reason
        );
        let _ = writeln!(notices, "<p class=\"notice bad\">{}</p>", escape(&text));
    }
    if !report.left_out.is_empty() {
        let all: Vec<_> = report
            .left_out
            .iter()
            .map(|own| {
                let LeftOut { op, shape, form, configuration, estimated_seconds } = own;
                let time = format::seconds(*estimated_seconds);
                escape(&format!("{form} ({configuration}) of {op}, {shape}: {time}"))
            })
            .collect();
        let _ = writeln!(
            notices,
            "<p class=\"notice\">Left out, as one run would take too long by what they made of other shapes: {}.</p>",
            all.join("; ")
        );
    }
    notices
}

fn tiles(report: &Report) -> String {
    let all = report.records.len();
    let wrong = report.wrong().count();
    let shares: Vec<_> = standings::defaults(report).map(|(_, share, _)| share).collect();
    let mean = shares.iter().sum::<f64>() / shares.len() as f64;
    let worst = shares.iter().copied().fold(f64::NAN, f64::min);
    let fast = shares.iter().filter(|share| **share >= 0.95).count();
    let tiles = [
        (all.to_string(), format!("forms of {} ops and shapes", report.groups().len())),
        (format!("{} of {all}", all - wrong), "give right numbers".to_owned()),
        (
            format!("{fast} of {}", shares.len()),
            "of the engine's own choices are the fastest, or within 5 %".to_owned(),
        ),
        (percent(mean), "of the fastest form is what its choices reach in the mean".to_owned()),
        (percent(worst), "where they are the furthest from it".to_owned()),
    ];
    let tile = |(figure, text): (String, String)| {
        format!("<div class=\"tile\"><b>{figure}</b><span>{text}</span></div>")
    };
    format!("<div class=\"tiles\">{}</div>\n", tiles.map(tile).concat())
}

fn method(report: &Report) -> String {
    let clock = if report.adapter.has_timestamps {
        "GPU time is that between two timestamps around each kernel, added up where an op has several; copies between \
         buffers and textures, which a model makes once for many ops, are left out. Wall time is the host's: a submission \
         of up to 32 runs and the wait for it, divided by the runs. All other figures are of the median of the GPU time."
    } else {
        "The adapter offers no timestamps, so all figures are of the wall time: a submission of up to 32 runs and the wait \
         for it, divided by the runs."
    };
    let rivals = if report.records.iter().any(|record| record.origin.is_some()) {
        "<p>Kernels of others, marked as such, ran on a device of their own, on the same numbers and by the same clocks. All of \
         wgpu's checks are on for them: bounds, divisors, loops without end, zeros in workgroup memory. Ours run without, as \
         tests see to that; the form \"ours as others run\" is ours as it would be theirs, on that device with those checks.</p>\n"
    } else {
        ""
    };
    format!(
        "<p>Operands look random, lie between -1 and 1 and are exact in f16, so every form has the same right answer. That \
         is the processor's, by the kernels' CPU twins or quicker forms that are tested against them; a form is right \
         when its worst value is within the tolerance, as a share of the largest. All sums are in f32, also those of \
         products in f16.</p>\n\
         <p>{clock} Each form ran for {} s by each clock, in 200 submissions at most, and where that is too short once to three times; p95 is the time that 95 of 100 runs \
         keep within. Operands are the same in every run, so caches hold what fits them.</p>\n\
         <p>Operations and bytes are those that an op cannot do without, by the formulas at each table, where i, w and o are \
         the bytes of a value of the input, the weight and the output. The ceiling of a form is the longer of its \
         operations at the measured rate of the units that it uses and its bytes at the measured rate of a buffer of that \
         size. A form is compared with the fastest right one that stores weights alike; what is in f16 has rivals in f16.</p>\n{rivals}",
        report.seconds_per_form
    )
}

#[cfg(test)]
mod tests {
    use super::super::report::tests::{record, report};
    use super::super::report::{Check, Failure, Report};
    use super::*;

    fn sample() -> Report {
        report(vec![
            record("product", "M 4 · N 8 · K 8", "matmul_tile_vec4", 4e-3),
            record("product", "M 4 · N 8 · K 8", "matmul_tile", 2e-3),
            record("softmax", "R 4 · C 8", "softmax", 1e-4),
        ])
    }

    /// Whether every element is closed, in order.
    fn is_balanced(page: &str) -> Result<(), String> {
        let mut open = Vec::new();
        for tag in page.split('<').skip(1) {
            let (tag, _) = tag.split_once('>').ok_or_else(|| format!("<{tag}"))?;
            let name: String =
                tag.trim_start_matches('/').chars().take_while(char::is_ascii_alphanumeric).collect();
            if tag.starts_with('!') || tag.ends_with('/') || ["meta", "br"].contains(&name.as_str()) {
                continue;
            }
            if !tag.starts_with('/') {
                open.push(name);
            } else if open.pop().as_deref() != Some(&name) {
                return Err(format!("</{name}> closes nothing"));
            }
        }
        if open.is_empty() { Ok(()) } else { Err(format!("{open:?} stay open")) }
    }

    #[test]
    fn the_page_is_whole_and_needs_nothing_else() {
        let page = page(&sample());
        is_balanced(&page).unwrap();
        assert!(is_balanced("<p><b></p>").is_err() && is_balanced("<p>").is_err());
        for foreign in ["<script", "http:", "https:", "url(", "@import", "src=", "<link"] {
            assert!(!page.contains(foreign), "{foreign}");
        }
        for part in ["A Card", "Roofline", "<circle", "matmul_tile_vec4", "2·M·N·K", "not recorded", "p95"]
        {
            assert!(page.contains(part), "{part}");
        }
        assert!(!page.contains("NaN") && !page.contains("inf"), "{page}");
    }

    #[test]
    fn a_loss_is_shown_with_what_beats_it() {
        let page = page(&sample());
        let (_, losses) = page.split_once("Where the engine's own choice loses").unwrap();
        let (losses, _) = losses.split_once("</section>").unwrap();
        assert!(losses.contains("matmul_tile_vec4") && losses.contains("2.00 ×"), "{losses}");
        // Named above the table, for what may be tuned.
        let (_, table) = losses.split_once("<table").unwrap();
        assert!(table.contains("matmul_tile_vec4") && !table.contains("softmax"), "{table}");
    }

    #[test]
    fn wrong_numbers_and_failures_are_said_to_be_such() {
        let mut report = sample();
        assert!(!page(&report).contains("Wrong numbers"));
        report.records[1].check = Check::new(Some(0.5), 1e-4);
        report.records[2].check = Check::new(None, 1e-4);
        report.failures.push(Failure {
            op: "attention".to_owned(),
            shape: "B 1".to_owned(),
            configuration: "workgroup, f32".to_owned(),
            reason: "the device was lost".to_owned(),
        });
        report.left_out.push(LeftOut {
            op: "product".to_owned(),
            shape: "M 4096".to_owned(),
            form: "matmul_tile".to_owned(),
            configuration: "workgroup, f32".to_owned(),
            estimated_seconds: 390.0,
        });
        let page = page(&report);
        is_balanced(&page).unwrap();
        assert!(page.contains("matmul_tile (workgroup, f32) of product, M 4096: 390 s"), "{page}");
        assert!(page.contains("Wrong numbers: 2 of 3 forms. matmul_tile of product"), "{page}");
        assert!(page.contains("1 of 3") && page.contains("the device was lost"));
        assert!(page.contains("5.0e-1") && page.contains("not a number"));
        assert!(page.contains("class=\"cross\""));
        // The wrong one is faster, and beats nothing.
        assert!(!page.contains("2.00 ×"));
    }

    #[test]
    fn names_cannot_act() {
        let attack = "<script>alert(1)</script>\"><img src=x onerror=alert(1)>";
        let mut report = sample();
        report.adapter.name = attack.to_owned();
        report.adapter.driver_info = attack.to_owned();
        report.engine.commit = Some(attack.to_owned());
        for record in &mut report.records {
            let texts = [&mut record.op, &mut record.shape, &mut record.layer, &mut record.source];
            texts.into_iter().for_each(|text| text.push_str(attack));
            record.configuration = attack.to_owned();
            record.kernels = vec![attack.to_owned()];
            record.origin = Some(attack.to_owned());
            record.types.input = attack.to_owned();
            record.flops_formula = attack.to_owned();
            record.check = Check::new(None, 1e-4);
        }
        let page = page(&report);
        is_balanced(&page).unwrap();
        assert!(!page.contains("<script") && !page.contains("<img"), "{page}");
        assert!(page.contains("&lt;script&gt;"));
    }

    #[test]
    fn without_a_clock_or_records_there_is_a_page_without_not_a_numbers() {
        let mut report = sample();
        report.ceilings = None;
        report.adapter.has_timestamps = false;
        report.adapter.is_software = true;
        for record in &mut report.records {
            record.gpu = None;
            record.bound = None;
        }
        let timeless = page(&report);
        is_balanced(&timeless).unwrap();
        assert!(timeless.contains("it offers no timestamps") && timeless.contains("A software driver"));
        report.records.clear();
        let empty = page(&report);
        is_balanced(&empty).unwrap();
        // Nor where figures are what no clock gives.
        let mut report = sample();
        for record in &mut report.records {
            record.wall.median_seconds = 0.0;
            record.gpu = None;
        }
        for page in [timeless, empty, page(&report)] {
            assert!(!page.contains("NaN") && !page.contains(">inf"), "{page}");
        }
    }
}
