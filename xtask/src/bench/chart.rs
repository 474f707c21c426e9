//! Bar charts as SVG: text and rectangles, no scripts and no fonts of others, with colors for light and
//! for dark pages.

use anyhow::Result;

use super::report::Report;
use super::statistics::Summary;

const WIDTH: u32 = 760;
const MARGIN: u32 = 24;
/// Where bars begin; titles stand to the left.
const BARS_AT: u32 = 290;
/// Where the longest bar ends; its value stands to the right.
const BARS_END: u32 = 670;
const BAR: u32 = 18;
const ROW: u32 = 28;
const GROUP_HEAD: u32 = 36;
const GROUP_GAP: u32 = 14;
const HEAD: u32 = 66;

/// Colors that are readable on both kinds of page; a page that is dark gets others for text and bars.
const STYLE: &str = "\
text{font-family:ui-sans-serif,system-ui,-apple-system,'Segoe UI','DejaVu Sans',sans-serif;font-size:13px;fill:#1f2328}\
.title{font-size:17px;font-weight:600}\
.note{fill:#59636e}\
.group{font-weight:600}\
.ours{font-weight:600}\
.page{fill:#ffffff}\
.bar{fill:#afb8c1}\
.bar.ours{fill:#0969da}\
.span{stroke:#59636e;stroke-width:1.5;fill:none}\
.axis{stroke:#d1d9e0}\
@media (prefers-color-scheme:dark){\
text{fill:#f0f6fc}\
.note{fill:#9198a1}\
.page{fill:#0d1117}\
.bar{fill:#656c76}\
.bar.ours{fill:#4493f8}\
.span{stroke:#d1d7e0}\
.axis{stroke:#3d444d}}";

/// Whose bar it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    /// cutover's, which stands out.
    Ours,
    /// What it is compared with.
    Others,
}

/// One bar.
#[derive(Debug, Clone)]
pub(super) struct Bar {
    title: String,
    summary: Summary,
    whose: Whose,
}

impl Bar {
    pub(super) fn new(title: &str, summary: Summary, whose: Whose) -> Self {
        Self {
            title: title.to_owned(),
            summary,
            whose,
        }
    }
}

/// Groups of bars, each with a scale of its own.
#[derive(Debug)]
pub(super) struct Chart {
    title: String,
    note: String,
    groups: Vec<(String, Vec<Bar>)>,
}

impl Chart {
    pub(super) fn new(title: &str, note: &str) -> Self {
        Self {
            title: title.to_owned(),
            note: note.to_owned(),
            groups: Vec::new(),
        }
    }

    pub(super) fn group(&mut self, title: &str, bars: Vec<Bar>) {
        self.groups.push((title.to_owned(), bars));
    }

    /// Writes the picture.
    pub(super) fn write(&self, report: &Report, name: &str) -> Result<()> {
        report.write(name, &self.svg())
    }

    fn svg(&self) -> String {
        let mut body = String::new();
        text(&mut body, "title", MARGIN, 32, &self.title);
        text(&mut body, "note", MARGIN, 53, &self.note);
        let mut y = HEAD;
        for (title, bars) in &self.groups {
            text(&mut body, "group", MARGIN, y + 22, title);
            y += GROUP_HEAD;
            let longest = bars
                .iter()
                .map(|bar| bar.summary.max)
                .fold(f64::MIN_POSITIVE, f64::max);
            let height = ROW * u32::try_from(bars.len()).unwrap_or(u32::MAX);
            push(
                &mut body,
                format_args!("<path class=\"axis\" d=\"M{BARS_AT}.5 {y}v{height}\"/>",),
            );
            for bar in bars {
                draw(&mut body, bar, y + (ROW - BAR) / 2, longest);
                y += ROW;
            }
            y += GROUP_GAP;
        }
        let described = format!("{}: {}", self.title, self.note);
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {y}\" width=\"{WIDTH}\" height=\"{y}\" role=\"img\" aria-label=\"{label}\">\n\
             <style>{STYLE}</style>\n\
             <rect class=\"page\" width=\"{WIDTH}\" height=\"{y}\" rx=\"8\"/>\n{body}</svg>\n",
            label = escaped(&described),
        )
    }
}

/// One row: its title, the bar to the median, the span of all values, the median in digits.
fn draw(body: &mut String, bar: &Bar, y: u32, longest: f64) {
    let scale = f64::from(BARS_END - BARS_AT) / longest;
    let at = |value: f64| f64::from(BARS_AT) + value * scale;
    let Summary { median, min, max } = bar.summary;
    let (row, fill) = match bar.whose {
        Whose::Ours => ("ours", "bar ours"),
        Whose::Others => ("", "bar"),
    };
    text(body, row, MARGIN, y + 14, &bar.title);
    push(
        body,
        format_args!(
            "<rect class=\"{fill}\" x=\"{BARS_AT}\" y=\"{y}\" width=\"{:.1}\" height=\"{BAR}\" rx=\"2\"/>",
            (median * scale).max(1.0),
        ),
    );
    if max > min {
        let middle = f64::from(y) + f64::from(BAR) / 2.0;
        push(
            body,
            format_args!(
                "<path class=\"span\" d=\"M{:.1} {middle}H{:.1}M{:.1} {top}v8M{:.1} {top}v8\"/>",
                at(min),
                at(max),
                at(min),
                at(max),
                top = middle - 4.0,
            ),
        );
    }
    let beyond = at(max.max(median)) + 10.0;
    push(
        body,
        format_args!(
            "<text class=\"{row}\" x=\"{beyond:.1}\" y=\"{}\">{}</text>",
            y + 14,
            digits(median)
        ),
    );
}

fn text(body: &mut String, class: &str, x: u32, y: u32, words: &str) {
    let words = escaped(words);
    push(
        body,
        format_args!("<text class=\"{class}\" x=\"{x}\" y=\"{y}\">{words}</text>"),
    );
}

fn push(body: &mut String, line: std::fmt::Arguments<'_>) {
    body.push_str(&line.to_string());
    body.push('\n');
}

fn escaped(words: &str) -> String {
    words
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('"', "&quot;")
}

/// A number with as many digits as one reads, and its thousands apart.
fn digits(value: f64) -> String {
    if value < 100.0 && value.fract() != 0.0 {
        return format!("{value:.1}");
    }
    let whole = format!("{value:.0}");
    let mut text = String::new();
    for (position, digit) in whole.chars().enumerate() {
        if position > 0 && (whole.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_few_digits_and_their_thousands_apart() {
        assert_eq!(digits(12.345), "12.3");
        assert_eq!(digits(345.6), "346");
        assert_eq!(digits(0.0), "0");
        assert_eq!(digits(15300.0), "15,300");
        assert_eq!(digits(1_234_567.0), "1,234,567");
    }

    #[test]
    fn words_cannot_become_markup() {
        let mut chart = Chart::new("a < b & c", "\"note\"");
        let summary = Summary {
            median: 1.0,
            min: 1.0,
            max: 2.0,
        };
        chart.group("<g>", vec![Bar::new("<bar>", summary, Whose::Ours)]);
        let svg = chart.svg();
        assert!(svg.contains("a &lt; b &amp; c") && svg.contains("&lt;bar>"));
        assert!(!svg.contains("<g>") && !svg.contains("<bar>"));
    }
}
