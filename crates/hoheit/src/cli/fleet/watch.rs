//! `hoheit fleet watch`: asks each second, draws what is known, hears keys. The terminal is put back as it was however this
//! ends; ratatui's own hook does so in a panic.

use super::draw::draw;
use super::events::newest;
use super::model::Model;
use crate::cli::Failure;
use crate::cli::client::Client;
use crate::cli::show;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use serde_json::Value;
use std::io::IsTerminal;
use std::time::Duration;
use tokio::sync::mpsc;

/// Between two questions: two pages of a thousand machines each.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// The events of one answer; more in a second are fetched in the next.
const EVENTS_PAGE: usize = 200;
/// Lines of Page Up and Page Down.
const PAGE_LINES: usize = 8;
/// Keys that wait while a page is drawn; a person presses fewer.
const KEYS_MAX: usize = 64;

pub async fn run(client: &Client, url: &str) -> Result<(), Failure> {
    if !(std::io::stdout().is_terminal() && std::io::stdin().is_terminal()) {
        return Err(
            Failure::usage("This is no terminal.").hint("use `hoheit fleet status`, or `hoheit fleet events --follow`")
        );
    }
    // The first answer comes before the view: who has no token, or no site, is told so in words.
    let mut model = Model { url: url.to_owned(), ..Model::default() };
    take(&mut model, Ok(ask(client, None).await?));
    let mut terminal = ratatui::try_init()?;
    let ended = watch(client, &mut model, &mut terminal).await;
    ratatui::restore();
    ended
}

/// What the site answered.
struct Answer {
    machines: Vec<Value>,
    events: Vec<Value>,
}

async fn ask(client: &Client, after: Option<u64>) -> Result<Answer, Failure> {
    let rows = |mut page: Value| match page["data"].take() {
        Value::Array(rows) => rows,
        _ => Vec::new(),
    };
    let machines = rows(client.all("/api/v1/machines").await?);
    let from = after.map(|after| format!("&after={after}")).unwrap_or_default();
    let events = rows(client.get(&format!("/api/v1/fleet/events?limit={EVENTS_PAGE}{from}")).await?);
    Ok(Answer { machines, events })
}

/// Asks, and a second after each answer again, until nobody listens.
async fn ask_on(client: &Client, after: Option<u64>, answers: mpsc::Sender<Result<Answer, Failure>>) {
    let mut after = after;
    loop {
        tokio::time::sleep(ASK_EVERY).await;
        // Nothing yet is also a place to go on from: before the first one.
        let answer = ask(client, Some(after.unwrap_or(0))).await;
        after = answer.as_ref().ok().and_then(|answer| newest(&answer.events)).or(after);
        if answers.send(answer).await.is_err() {
            return;
        }
    }
}

/// An answer is the model from now on; without one, the old is shown as old.
fn take(model: &mut Model, answer: Result<Answer, Failure>) {
    match answer {
        Ok(answer) => {
            let now = jiff::Timestamp::now();
            let at = format!("{now:.0}").get(11..).unwrap_or_default().to_owned();
            model.machines(&answer.machines, at);
            model.happened(&answer.events);
        }
        Err(failure) => model.trouble = Some(show::clean(&failure.what).replace('\n', " ")),
    }
}

async fn watch(client: &Client, model: &mut Model, terminal: &mut DefaultTerminal) -> Result<(), Failure> {
    let (sender, mut keys) = mpsc::channel(KEYS_MAX);
    // Reading a key blocks, so it has a thread of its own; it ends with the process, or when nobody listens.
    std::thread::spawn(move || {
        while let Ok(event) = event::read() {
            if sender.blocking_send(event).is_err() {
                return;
            }
        }
    });
    let (sender, mut answers) = mpsc::channel(1);
    // While the site is slow, keys are heard: q must not wait for it.
    let mut asking = std::pin::pin!(ask_on(client, model.seq, sender));
    loop {
        terminal.draw(|frame| draw(frame, model))?;
        tokio::select! {
            () = &mut asking => return Ok(()),
            Some(answer) = answers.recv() => take(model, answer),
            event = keys.recv() => match event {
                Some(event) if !ends(model, &event) => {}
                _ => return Ok(()),
            },
        }
    }
}

/// What an event of the terminal does; true ends the view.
fn ends(model: &mut Model, event: &Event) -> bool {
    let Event::Key(key) = event else { return false };
    if key.kind != KeyEventKind::Press {
        return false;
    }
    match key.code {
        KeyCode::Char('q') | KeyCode::Esc => return true,
        KeyCode::Char('c' | 'd') if key.modifiers.contains(KeyModifiers::CONTROL) => return true,
        KeyCode::Char('h') => (model.only_held, model.scroll) = (!model.only_held, 0),
        KeyCode::Up | KeyCode::Char('k') => model.scroll = model.scroll.saturating_sub(1),
        KeyCode::Down | KeyCode::Char('j') => model.scroll = model.scroll.saturating_add(1),
        KeyCode::PageUp => model.scroll = model.scroll.saturating_sub(PAGE_LINES),
        KeyCode::PageDown => model.scroll = model.scroll.saturating_add(PAGE_LINES),
        KeyCode::Home => model.scroll = 0,
        KeyCode::End => model.scroll = usize::MAX,
        _ => {}
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use ratatui::crossterm::event::KeyEvent;
    use serde_json::json;

    #[test]
    fn keys() {
        let mut model = Model::default();
        let mut press = |code: KeyCode, modifiers: KeyModifiers| {
            let ended = ends(&mut model, &Event::Key(KeyEvent::new(code, modifiers)));
            (ended, model.scroll, model.only_held)
        };
        assert_eq!(press(KeyCode::PageDown, KeyModifiers::NONE), (false, 8, false));
        assert_eq!(press(KeyCode::Up, KeyModifiers::NONE), (false, 7, false));
        assert_eq!(press(KeyCode::Char('h'), KeyModifiers::NONE), (false, 0, true));
        assert_eq!(press(KeyCode::Up, KeyModifiers::NONE), (false, 0, true));
        assert_eq!(press(KeyCode::Char('c'), KeyModifiers::NONE), (false, 0, true));
        assert!(press(KeyCode::Char('c'), KeyModifiers::CONTROL).0);
        assert!(press(KeyCode::Char('q'), KeyModifiers::NONE).0);
    }

    #[test]
    fn a_failure_leaves_the_old_and_an_answer_ends_it() {
        let mut model = Model::default();
        let machine = json!({ "id": "m", "slot": "h/r/k/u", "lifecycle": "planned" });
        let answer = || Ok(Answer { machines: vec![machine.clone()], events: Vec::new() });
        take(&mut model, answer());
        take(&mut model, Err(Failure::failed("gone")));
        assert_eq!((model.machines, model.trouble.as_deref()), (1, Some("gone")));
        take(&mut model, answer());
        assert_eq!((model.machines, model.trouble), (1, None));
    }
}
