//! The model's own chat template: the Jinja text that turns messages into the prompt the model was trained on. Compiled
//! and tried once at load, so that a template that does not work stops the start and not the first question.
//!
//! The template runs without a clock, a random source or files: two equal conversations make equal prompts.

use minijinja::{Environment, Error, ErrorKind, context};
use serde::Serialize;

/// One message as templates read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Message {
    pub(crate) role: String,
    pub(crate) content: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
}

pub(crate) struct Template {
    environment: Environment<'static>,
    bos_token: String,
    eos_token: String,
}

impl Template {
    /// Compiles the template and renders a question with it; the error is Jinja's.
    pub(crate) fn compile(source: &str, bos_token: String, eos_token: String) -> Result<Self, String> {
        let mut environment = Environment::new();
        environment.set_trim_blocks(true);
        environment.set_lstrip_blocks(true);
        environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function("raise_exception", |text: String| -> Result<String, Error> {
            Err(Error::new(ErrorKind::InvalidOperation, text))
        });
        environment.add_template_owned("chat", source.to_owned()).map_err(|e| e.to_string())?;
        let template = Self { environment, bos_token, eos_token };
        template.render(&[Message { role: "user".into(), content: "?".into(), name: None }])?;
        Ok(template)
    }

    /// The prompt for a conversation, ending where the assistant is to speak.
    pub(crate) fn render(&self, messages: &[Message]) -> Result<String, String> {
        let template = self.environment.get_template("chat").map_err(|e| e.to_string())?;
        template
            .render(context! {
                messages => messages,
                add_generation_prompt => true,
                bos_token => self.bos_token,
                eos_token => self.eos_token,
            })
            .map_err(|e| e.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn say(role: &str, content: &str) -> Message {
        Message { role: role.into(), content: content.into(), name: None }
    }

    #[track_caller]
    fn check(source: &str, messages: &[Message], expect: Result<&str, &str>) {
        let template = Template::compile(source, "<s>".into(), "</s>".into()).unwrap();
        match (template.render(messages), expect) {
            (Ok(text), Ok(expect)) => assert_eq!(text, expect),
            (Err(text), Err(expect)) => assert!(text.contains(expect), "{text}"),
            (got, _) => panic!("{got:?}"),
        }
    }

    #[test]
    fn blocks_are_trimmed_as_transformers_trims_them() {
        let source = "{{ bos_token }}{% for m in messages %}\n  {% if m.role == 'user' %}\nU:{{ m['content'].strip() }}\n  \
                      {% endif %}\n{% endfor %}\n{% if add_generation_prompt %}A:{% endif %}";
        check(source, &[say("user", " hi ")], Ok("<s>U:hi\nA:"));
    }

    #[test]
    fn a_template_may_refuse() {
        let source = "{% if messages[0].role != 'user' %}{{ raise_exception('users first') }}{% endif %}ok";
        check(source, &[say("system", "x")], Err("users first"));
    }

    #[test]
    fn a_broken_template_does_not_compile() {
        assert!(Template::compile("{% for m in %}", String::new(), String::new()).is_err());
        assert!(Template::compile("{{ nothing.there }}", String::new(), String::new()).is_err());
    }
}
