//! The style sheet of the page.

use std::fmt::Write as _;

use crate::plot::scene::Colour;

/// Rules other than colours.
const LAYOUT: &str = "\
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
body{margin:0;background:var(--page);color:var(--text);font:16px/1.55 system-ui,-apple-system,'Segoe UI',Roboto,\
'Helvetica Neue',Arial,sans-serif}
main,footer{max-width:1360px;margin:0 auto;padding:0 24px}
header{padding:44px 0 8px}
h1{font-size:34px;line-height:1.2;letter-spacing:-.015em;margin:0 0 14px;max-width:24em}
h2{font-size:22px;letter-spacing:-.01em;margin:44px 0 16px}
h3{font-size:16px;margin:28px 0 10px}
p{margin:0 0 12px}
.lead{max-width:46em;color:var(--muted);font-size:17px}
.origin{max-width:46em;border-left:4px solid var(--axis);padding:6px 14px;background:var(--band)}
.facts{display:flex;flex-wrap:wrap;gap:8px 36px;margin:22px 0 0;padding:14px 0;border-top:1px solid var(--grid);\
border-bottom:1px solid var(--grid)}
.facts dt{color:var(--muted);font-size:12.5px}
.facts dd{margin:0;font-weight:600}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(240px,1fr));gap:16px;margin-top:26px}
.card{background:var(--surface);border:1px solid var(--grid);border-radius:10px;padding:16px 20px}
.card .name{color:var(--muted);font-size:13.5px}
.card .value{font-size:34px;font-weight:650;line-height:1.25;letter-spacing:-.02em;font-variant-numeric:tabular-nums}
.card .better{color:var(--good)}
.card .worse{color:var(--bad)}
.card .detail{font-size:13.5px;color:var(--muted)}
.cards-note{color:var(--muted);font-size:13.5px;margin:10px 0 0}
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(520px,100%),1fr));gap:18px;align-items:start}
figure{margin:0;overflow-x:auto;background:var(--surface);border:1px solid var(--grid);border-radius:10px;padding:10px}
figure.wide{grid-column:1/-1}
figure svg{display:block;width:100%;height:auto}
figure svg g:hover{filter:brightness(1.25)}
.scroll{overflow-x:auto;border:1px solid var(--grid);border-radius:10px;background:var(--surface)}
table{border-collapse:collapse;width:100%;font-size:14px;font-variant-numeric:tabular-nums}
th,td{padding:6px 10px;vertical-align:top;text-align:right;white-space:nowrap;border-top:1px solid var(--grid)}
thead th{border-top:0;color:var(--muted);font-weight:600;font-size:12.5px;vertical-align:bottom}
th:first-child,td:first-child{text-align:left}
tbody th:first-child,thead th:first-child{position:sticky;left:0;background:var(--surface)}
tbody th{font-weight:500}
tr.rate th:first-child{background:var(--band);font-weight:650;text-align:left;border-top:1px solid var(--axis)}
tr.own th,tr.own td{font-weight:650}
tr.bound th,tr.bound td{color:var(--muted);font-style:italic}
td small,th small{display:block;color:var(--muted);font-size:11.5px;font-weight:400;line-height:1.3}
td.best{color:var(--good);font-weight:650}
.state{display:inline-block;padding:0 8px;border-radius:9px;font-size:12px;font-weight:600;white-space:nowrap;\
background:var(--band);color:var(--bad)}
.method{display:grid;grid-template-columns:max-content 1fr;gap:6px 22px;max-width:60em;margin:0}
.method dt{font-weight:650}
.method dd{margin:0;color:var(--muted)}
pre{background:var(--surface);border:1px solid var(--grid);border-radius:10px;padding:14px 18px;overflow-x:auto;\
font:13.5px/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;margin:0 0 12px}
summary{cursor:pointer;margin:12px 0}
footer{color:var(--muted);font-size:13px;padding-top:36px;padding-bottom:44px}
@media (max-width:640px){
main,footer{padding:0 14px}
header{padding-top:24px}
h1{font-size:26px}
.method{grid-template-columns:1fr}
.method dd{margin-bottom:8px}
.cards{grid-template-columns:1fr}
table{font-size:13px}
th,td{padding:5px 8px}
tbody th{white-space:normal;min-width:7.5em;overflow-wrap:anywhere}
figure svg{min-width:560px}
figure.wide svg{min-width:880px}
}
@media print{
@page{size:A4;margin:14mm}
body{font-size:11pt}
main,footer{max-width:none;padding:0}
header{padding-top:0}
.plots{grid-template-columns:1fr 1fr;gap:10px}
.scroll,figure{overflow:visible}
.scroll{border:0}
figure svg,figure.wide svg{min-width:0}
body{background:none}
table{font-size:6.5pt}
th,td{padding:2px 3px}
thead th{font-size:6pt;white-space:normal}
td small,th small{font-size:5.5pt}
pre{white-space:pre-wrap}
.state{padding:0;background:none;font-size:6pt}
figure,.card,tbody,pre{break-inside:avoid}
h2,h3{break-after:avoid}
thead{display:table-header-group}
}
";

/// The style sheet: light and dark colours, classes of plots, layout.
pub(super) fn stylesheet() -> String {
    let mut sheet = String::new();
    let light = variables(|colour| colour.light_and_dark()[0], ["#fafbfc", "#f1f3f5", "#00734f", "#b3261e"]);
    let dark = variables(|colour| colour.light_and_dark()[1], ["#0e1116", "#20262e", "#4ccf9f", "#ff8a80"]);
    let _ = writeln!(sheet, ":root{{color-scheme:light dark;{light}}}");
    let _ = writeln!(sheet, "@media screen and (prefers-color-scheme:dark){{:root{{{dark}}}}}");
    for colour in Colour::all() {
        let name = colour.name();
        let _ = writeln!(sheet, ".fill-{name}{{fill:var(--{name})}}.stroke-{name}{{stroke:var(--{name})}}");
    }
    sheet.push_str(".fill-none{fill:none}\n");
    sheet.push_str(LAYOUT);
    sheet
}

fn variables(rgb: fn(Colour) -> [u8; 3], [page, band, good, bad]: [&str; 4]) -> String {
    let mut text = String::new();
    for colour in Colour::all() {
        let [red, green, blue] = rgb(colour);
        let _ = write!(text, "--{}:#{red:02x}{green:02x}{blue:02x};", colour.name());
    }
    let _ = write!(text, "--page:{page};--band:{band};--good:{good};--bad:{bad}");
    text
}
