//! How `fleet watch` looks: a function of the [`Model`] and the terminal's size. From 80x24 up; what does not fit is scrolled
//! or cut, never wrapped into something else.
//!
//! A state has a letter and a colour: whoever sees no colours, or has none, reads the letters.

use super::model::{Cell, Hall, Model, Rack};
use fleet::machine::Lifecycle;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;
use std::collections::BTreeMap;

/// Held machines have at most so many lines, their title included: at 80x24 the halls keep the most.
const HELD_LINES_MAX: u16 = 5;
/// So many of ten lines below the counts are events, at least three.
const EVENTS_SHARE: u16 = 3;
/// Columns between two halls that stand side by side.
const GAP: usize = 3;
/// `h1` and `r01` before the racks.
const NAME_CHARS: usize = 4;

/// The letter and the colour of a machine.
fn look(cell: &Cell) -> (char, Style) {
    let (letter, color) = glyph(cell.state);
    let style = Style::new().fg(color);
    match cell {
        Cell { held: Some(_), .. } => ('!', Style::new().fg(Color::Red).add_modifier(Modifier::BOLD)),
        Cell { faulted: true, .. } => (letter, Style::new().fg(Color::Red)),
        // Accepted, and placement may not use it yet, or no more.
        Cell { state: Lifecycle::Accepted, capacity: false, .. } => ('a', style),
        Cell { degraded: true, .. } => (letter, Style::new().fg(Color::Yellow)),
        _ => (letter, style),
    }
}

fn glyph(state: Lifecycle) -> (char, Color) {
    match state {
        Lifecycle::Planned => ('·', Color::DarkGray),
        Lifecycle::Received => ('r', Color::Blue),
        Lifecycle::Installed => ('i', Color::Blue),
        Lifecycle::Powered => ('p', Color::Cyan),
        Lifecycle::Provisioned => ('v', Color::Cyan),
        Lifecycle::Validated => ('t', Color::LightGreen),
        Lifecycle::Accepted => ('■', Color::Green),
        Lifecycle::Drain => ('d', Color::Magenta),
        Lifecycle::Repair => ('x', Color::Yellow),
        Lifecycle::Retired => (' ', Color::DarkGray),
    }
}

/// Draws all of it.
pub fn draw(frame: &mut Frame<'_>, model: &mut Model) {
    let area = frame.area();
    let counts = counts(model, usize::from(area.width));
    let below = area.height.saturating_sub(1 + counts.len() as u16);
    let held = match model.held.len() as u16 {
        0 => 0,
        held => (held + 1).min(HELD_LINES_MAX),
    };
    let events = (below * EVENTS_SHARE / 10).max(3);
    let rows = [
        Constraint::Length(1),
        Constraint::Length(counts.len() as u16),
        Constraint::Min(0),
        Constraint::Length(held),
        Constraint::Length(events),
    ];
    let [title_at, counts_at, halls_at, held_at, events_at] = Layout::vertical(rows).areas(area);
    frame.render_widget(title(model, usize::from(area.width)), title_at);
    frame.render_widget(Paragraph::new(counts), counts_at);
    halls(frame, model, halls_at);
    frame.render_widget(Paragraph::new(held_lines(model, held_at)), held_at);
    frame.render_widget(Paragraph::new(event_lines(model, events_at)), events_at);
}

/// A line across, for a part of the view.
fn rule(text: &str, width: usize) -> Line<'static> {
    let dashes = width.saturating_sub(text.chars().count() + 4);
    Line::styled(format!("── {text} {}", "─".repeat(dashes)), Style::new().fg(Color::DarkGray))
}

/// What, where, when; trouble in place of when.
fn title(model: &Model, width: usize) -> Line<'static> {
    let (machines, capacity, held) = (model.machines, model.capacity, model.held.len());
    let left = format!("hoheit fleet  {machines} machines, {capacity} capacity, {held} held  {}", model.url);
    let (right, style) = match (&model.trouble, &model.at) {
        (Some(trouble), _) => (format!("OLD: {trouble}"), Style::new().fg(Color::Red).add_modifier(Modifier::BOLD)),
        (None, Some(at)) => (format!("{at}  q quits"), Style::new()),
        (None, None) => ("asking …  q quits".to_owned(), Style::new()),
    };
    // What is wrong is read first, if there is no room for both.
    let right: String = right.chars().take(width).collect();
    let room = width.saturating_sub(right.chars().count() + 1);
    let left: String = left.chars().take(room).collect();
    let space = " ".repeat(width.saturating_sub(left.chars().count() + right.chars().count()));
    Line::from(vec![
        Span::styled(left, Style::new().add_modifier(Modifier::BOLD)),
        Span::raw(space),
        Span::styled(right, style),
    ])
}

/// Each state with its letter and number, in as few lines as it takes; the legend of the halls.
fn counts(model: &Model, width: usize) -> Vec<Line<'static>> {
    let mut lines: Vec<Line<'static>> = vec![Line::default()];
    for state in Lifecycle::ALL.iter().filter(|state| **state != Lifecycle::Retired) {
        let (letter, color) = glyph(*state);
        let count = model.states.get(state).copied().unwrap_or(0);
        let text = format!("{letter} {state} {count}   ");
        if let Some(line) = lines.last()
            && line.width() + text.chars().count() > width
        {
            lines.push(Line::default());
        }
        if let Some(line) = lines.last_mut() {
            let style = if count == 0 { Style::new().fg(Color::DarkGray) } else { Style::new().fg(color) };
            line.push_span(Span::styled(text, style));
        }
    }
    lines
}

/// Halls below each other, or side by side as far as they fit; scrolled if they are higher than the view.
fn halls(frame: &mut Frame<'_>, model: &mut Model, area: Rect) {
    let width = usize::from(area.width);
    let needed = model.halls.values().map(hall_width).max().unwrap_or(0);
    let columns = ((width + GAP) / (needed + GAP).max(1)).clamp(1, model.halls.len().max(1));
    let column_width = if columns == 1 { width } else { needed };
    let blocks: Vec<Vec<Line<'static>>> =
        model.halls.iter().map(|(name, hall)| hall_lines(name, hall, column_width, model.only_held)).collect();
    let mut lines: Vec<Line<'static>> = Vec::new();
    for side_by_side in blocks.chunks(columns) {
        let height = side_by_side.iter().map(Vec::len).max().unwrap_or(0);
        for at in 0..height {
            let mut line = Line::default();
            for (index, block) in side_by_side.iter().enumerate() {
                let space = index * (column_width + GAP) - line.width().min(index * (column_width + GAP));
                line.push_span(" ".repeat(space));
                line.spans.extend(block.get(at).into_iter().flat_map(|part| part.spans.iter().cloned()));
            }
            lines.push(line);
        }
    }
    if lines.is_empty() {
        lines.push(Line::raw("No machines. Apply a site file: hoheit site apply site.toml"));
    }
    let height = usize::from(area.height);
    // One line is for what is not to be seen.
    let below = lines.len() > height;
    let seen = if below { height.saturating_sub(1) } else { height };
    model.scroll = model.scroll.min(lines.len().saturating_sub(seen));
    let hidden = lines.len().saturating_sub(model.scroll + seen);
    let mut shown: Vec<Line<'static>> = lines.into_iter().skip(model.scroll).take(seen).collect();
    if below {
        let text = format!("{} lines above, {hidden} below: arrows, Page Up, Page Down", model.scroll);
        shown.push(Line::styled(text, Style::new().fg(Color::DarkGray)));
    }
    frame.render_widget(Paragraph::new(shown), area);
}

fn row_width(racks: &BTreeMap<String, Rack>) -> usize {
    let cells: usize = racks.values().map(Vec::len).sum();
    NAME_CHARS + cells + racks.len().saturating_sub(1)
}

fn hall_width(hall: &Hall) -> usize {
    hall.values().map(row_width).max().unwrap_or(0)
}

/// The hall's name, then a line for each row; a row that is too long goes on below, at a rack's end.
fn hall_lines(name: &str, hall: &Hall, width: usize, only_held: bool) -> Vec<Line<'static>> {
    let cells = || hall.values().flat_map(BTreeMap::values).flatten();
    let (count, capacity) = (cells().count(), cells().filter(|cell| cell.capacity).count());
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let mut lines = vec![Line::styled(format!("{name}  {capacity} of {count} capacity"), bold)];
    for (row, racks) in hall {
        if only_held && !racks.values().flatten().any(|cell| cell.held.is_some()) {
            continue;
        }
        let mut line = Line::raw(format!("{row:<NAME_CHARS$}"));
        let mut first = true;
        for rack in racks.values() {
            if !first && line.width() + 1 + rack.len() > width {
                lines.push(line);
                line = Line::raw(" ".repeat(NAME_CHARS));
                first = true;
            }
            if !first {
                line.push_span(" ");
            }
            first = false;
            for cell in rack {
                let (letter, style) = look(cell);
                line.push_span(Span::styled(letter.to_string(), style));
            }
        }
        lines.push(line);
    }
    lines
}

fn held_lines(model: &Model, area: Rect) -> Vec<Line<'static>> {
    let height = usize::from(area.height);
    if model.held.is_empty() || height < 2 {
        return Vec::new();
    }
    let fits = height - 1;
    let mut lines = vec![rule(&format!("held: {} wait for a person", model.held.len()), usize::from(area.width))];
    let shown = if model.held.len() > fits { fits - 1 } else { fits };
    for cell in model.held.iter().take(shown) {
        let code = cell.held.as_deref().unwrap_or_default();
        let red = Style::new().fg(Color::Red);
        lines.push(Line::from(vec![
            Span::raw(format!("{}  ", cell.slot)),
            Span::styled(code.to_owned(), red),
            Span::raw(format!("  {}", cell.reason)),
        ]));
    }
    if model.held.len() > shown {
        lines.push(Line::raw(format!("and {} more: hoheit machine list --held", model.held.len() - shown)));
    }
    lines
}

/// The newest that fit, newest at the bottom.
fn event_lines(model: &Model, area: Rect) -> Vec<Line<'static>> {
    let fits = usize::from(area.height).saturating_sub(1);
    let from = model.events.len().saturating_sub(fits);
    let mut lines = vec![rule("events", usize::from(area.width))];
    lines.extend(model.events.iter().skip(from).map(|(time, about, what)| {
        Line::from(vec![
            Span::styled(format!("{time}  "), Style::new().fg(Color::DarkGray)),
            Span::raw(format!("{about}  {what}")),
        ])
    }));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use serde_json::{Value, json};

    fn machine(slot: &str, lifecycle: &str, held: Option<&str>) -> Value {
        let open = lifecycle == "accepted" && held.is_none();
        json!({ "id": format!("mach_{slot}"), "slot": slot, "lifecycle": lifecycle, "health": "healthy",
            "scheduling": if open { "open" } else { "cordoned" }, "held": held, "reason": format!("why of {slot}") })
    }

    /// Munich's shape: halls of nine rows, 16 racks of two, the last row 14 racks of four.
    fn munich() -> Vec<Value> {
        const STATES: [&str; 9] =
            ["planned", "received", "installed", "powered", "provisioned", "validated", "accepted", "drain", "repair"];
        let mut all = Vec::new();
        for hall in 1..=4 {
            for row in 1..=9 {
                let (racks, machines) = if row == 9 { (14, 4) } else { (16, 2) };
                for rack in 1..=racks {
                    for unit in 0..machines {
                        let slot = format!("h{hall}/r{row:02}/k{rack:02}/u{:02}", 1 + unit * 10);
                        let held = (hall == 2 && row == 3 && rack < 8).then_some("serial_differs");
                        all.push(machine(&slot, STATES[(hall + row + usize::from(rack > 8)) % STATES.len()], held));
                    }
                }
            }
        }
        all
    }

    fn model(machines: &[Value]) -> Model {
        let mut model = Model { url: "http://127.0.0.1:8080".to_owned(), ..Model::default() };
        model.machines(machines, "07:44:07Z".to_owned());
        let events: Vec<Value> = (1..=12)
            .map(|seq| json!({ "seq": seq, "at": seq * 1_000, "machine": "mach_h1/r01/k01/u01", "kind": "powered", "text": format!("event {seq}") }))
            .collect();
        model.happened(&events);
        model
    }

    fn shown(model: &mut Model, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, model)).unwrap();
        terminal.backend().to_string()
    }

    #[test]
    fn a_small_site() {
        let machines =
            [machine("h1/r01/k01/u01", "planned", None), machine("h1/r01/k01/u13", "planned", Some("order_held"))];
        insta::assert_snapshot!("small", shown(&mut model(&machines), 80, 24));
    }

    #[test]
    fn munich_at_80_by_24_is_scrolled() {
        let mut model = model(&munich());
        insta::assert_snapshot!("munich_scrolled_top", shown(&mut model, 80, 24));
        model.scroll = usize::MAX;
        insta::assert_snapshot!("munich_scrolled_end", shown(&mut model, 80, 24));
        assert!(model.scroll < 100, "the view does not leave the halls: {}", model.scroll);
    }

    #[test]
    fn munich_on_a_wide_terminal_is_seen_whole() {
        insta::assert_snapshot!("munich_wide", shown(&mut model(&munich()), 160, 50));
    }

    #[test]
    fn only_rows_with_held_machines() {
        let mut model = model(&munich());
        model.only_held = true;
        let text = shown(&mut model, 160, 50);
        assert!(text.contains("r03") && !text.contains("r04"), "{text}");
    }

    #[test]
    fn without_an_answer_what_is_shown_is_old() {
        let mut model = model(&[machine("h1/r01/k01/u01", "accepted", None)]);
        model.trouble = Some("http://127.0.0.1:8080 does not answer".to_owned());
        let text = shown(&mut model, 80, 24);
        assert!(text.contains("OLD: http://127.0.0.1:8080 does not answer") && text.contains("r01 ■"), "{text}");
    }

    /// Any size is drawn, however small; what comes from the site cannot steer the terminal.
    #[test]
    fn any_size_and_any_text() {
        let mut wild =
            vec![machine("\u{1b}[2J/\u{7}/\u{0}", "powered", Some("\u{1b}[31m")), machine("", "drain", None)];
        wild.extend(munich());
        for (width, height) in [(1, 1), (2, 3), (5, 5), (20, 6), (80, 24), (300, 100)] {
            let text = shown(&mut model(&wild), width, height);
            assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{width}x{height}");
        }
        shown(&mut Model::default(), 80, 24);
    }

    #[test]
    fn a_state_has_a_letter_and_a_colour() {
        let cell = |state: Lifecycle, capacity: bool, faulted: bool, held: Option<&str>| Cell {
            slot: "s".to_owned(),
            state,
            capacity,
            faulted,
            degraded: false,
            held: held.map(str::to_owned),
            reason: String::new(),
        };
        let check = |cell: Cell, letter: char, color: Color| {
            let (found, style) = look(&cell);
            assert_eq!((found, style.fg), (letter, Some(color)), "{cell:?}");
        };
        check(cell(Lifecycle::Accepted, true, false, None), '■', Color::Green);
        check(cell(Lifecycle::Accepted, false, false, None), 'a', Color::Green);
        check(cell(Lifecycle::Accepted, false, true, None), '■', Color::Red);
        check(cell(Lifecycle::Accepted, false, true, Some("x")), '!', Color::Red);
        check(cell(Lifecycle::Repair, false, false, None), 'x', Color::Yellow);
        let letters: std::collections::BTreeSet<char> = Lifecycle::ALL.iter().map(|state| glyph(*state).0).collect();
        assert_eq!(letters.len(), Lifecycle::ALL.len());
    }
}
