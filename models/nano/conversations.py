"""Reads `corpus/` and varies it into conversations.

What it is: the only place that knows the corpus format, the question frames and which questions are held out.
What it is not: it knows no tensors and no tokens. Why apart from `train.py`: `check.py` measures with the same split.
"""

import random
import re
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
LANGUAGES = ("en", "de")

# {x} is a term as written, {b} the term without its article.
FRAMES = {
    "en": [
        "What is {x}?", "What is {x}?", "What's {x}?", "Explain {x}.", "Explain {x} to me.", "Can you explain {x}?",
        "Please explain {x}.", "Tell me about {x}.", "Tell me what {x} is.", "What does {b} mean?",
        "What do you mean by {b}?", "Define {b}.", "What exactly is {x}?", "Do you know what {x} is?",
        "I want to know what {x} is.", "In one sentence, what is {x}?", "{b}?", "{b}", "Help me understand {x}.",
        "What is meant by {b}?", "How would you explain {x}?", "And what is {x}?", "Hello, what is {x}?",
        "Hi! Can you tell me what {x} is?", "What is {x} in Hoheit?",
    ],
    "de": [
        "Was ist {x}?", "Was ist {x}?", "Was ist denn {x}?", "Was genau ist {x}?", "Was ist eigentlich {x}?",
        "Erkläre mir, was {x} ist.", "Kannst du mir erklären, was {x} ist?", "Bitte erkläre, was {x} ist.",
        "Was bedeutet {b}?", "Was heißt {b}?", "Was bedeutet das Wort {b}?", "Weißt du, was {x} ist?",
        "Ich möchte wissen, was {x} ist.", "Sag mir, was {x} ist.", "Erzähl mir etwas über {b}.",
        "Was versteht ihr unter {b}?", "Definiere {b}.", "Was meinst du mit {b}?", "{b}?", "{b}",
        "In einem Satz: Was ist {x}?", "Und was ist {x}?", "Hallo, was ist {x}?", "Können Sie mir sagen, was {x} ist?",
        "Was ist {x} bei Hoheit?",
    ],
}
FRAMES_HELD_OUT = {
    "en": ["Could you describe {x} for me?", "I have never heard of {x}. What is it?",
           "So what is {x}, in simple words?", "Give me a short definition of {b}."],
    "de": ["Könntest du mir kurz beschreiben, was {x} ist?", "Ich habe noch nie von {b} gehört. Was ist das?",
           "Was soll {x} sein?", "Gib mir eine kurze Definition von {b}."],
}
PLACE_FRAMES = {
    "en": ["What is the capital of {x}?", "Where is {x}?", "Tell me about {x}.", "How many people live in {x}?",
           "What is the weather in {x}?", "How big is {x}?", "What language do they speak in {x}?"],
    "de": ["Was ist die Hauptstadt von {x}?", "Wo liegt {x}?", "Erzähl mir etwas über {x}.",
           "Wie viele Menschen leben in {x}?", "Wie ist das Wetter in {x}?", "Wie groß ist {x}?",
           "Welche Sprache spricht man in {x}?"],
}
# A later turn that asks for the answer before it, in one of the two languages.
SWITCH = {
    "en": ["In English, please.", "And in English?", "Auf Englisch bitte.", "Can you say that in English?"],
    "de": ["Auf Deutsch bitte.", "Und auf Deutsch?", "In German, please.", "Kannst du das auf Deutsch sagen?"],
}
AGAIN = {
    "en": ["Say that again.", "Please repeat that.", "Again, please.", "Can you repeat your answer?"],
    "de": ["Sag das noch einmal.", "Bitte wiederhole das.", "Noch einmal bitte.", "Kannst du das wiederholen?"],
}
SYSTEM = [
    "You are a helpful assistant.", "You are a helpful assistant.", "Du bist ein hilfreicher Assistent.",
    "Answer briefly.", "Antworte kurz.", "You are nano.", "Du bist nano.", "Be polite and short.",
    "You answer questions about Hoheit.", "Sei höflich.", "You are a careful assistant. Do not invent anything.",
    "Always be honest.", "Erfinde nichts.",
]
OPENERS = {"en": ["Hello, ", "Hi, ", "Please: ", "Question: ", "So, ", "OK, ", "Hey nano, ", "Quick question: "],
           "de": ["Hallo, ", "Guten Tag, ", "Bitte: ", "Frage: ", "Also, ", "Okay, ", "Hey nano, ", "Eine Frage: "]}
CLOSERS = {"en": [" Thanks.", " Please.", " Thank you!", " Please answer in English."],
           "de": [" Danke.", " Bitte.", " Vielen Dank!", " Bitte auf Deutsch."]}
ARTICLE = re.compile(r"^(an?|the|eine?|der|die|das) ", re.IGNORECASE)


@dataclass
class Topic:
    """One answer in one language and the ways to ask for it."""

    name: str
    language: str
    answer: str = ""
    own: list = field(default_factory=list)
    framed: list = field(default_factory=list)
    held_out: list = field(default_factory=list)
    # Held-out frames around known terms; empty where the topic has no terms.
    framed_held_out: list = field(default_factory=list)

    def questions(self):
        return self.own + self.framed

    def question(self, rng):
        """Own questions as often as framed ones, though there are fewer of them."""
        framed = self.framed and (not self.own or rng.random() < 0.5)
        return rng.choice(self.framed if framed else self.own)


def fill(frame, term):
    return frame.format(x=term, b=ARTICLE.sub("", term))


def sections(path):
    """(heading, lines) of each `##` section; what stands before the first is for people."""
    for part in path.read_text(encoding="utf-8").split("\n## ")[1:]:
        heading, *lines = part.strip("\n").split("\n")
        yield heading.strip(), lines


def read_topic(name, language, lines):
    topic = Topic(name, language)
    answer = []
    for line in lines:
        kind, _, rest = line.partition(" ")
        split = [term.strip() for term in rest.split("|")]
        if answer:
            answer.append(line)
        elif kind == "term:":
            topic.framed += [fill(frame, term) for term in split for frame in FRAMES[language]]
            topic.framed_held_out += [fill(frame, split[0]) for frame in FRAMES_HELD_OUT[language]]
        elif kind == "thing:":
            topic.framed += [fill(frame, term) for term in split for frame in FRAMES[language]]
        elif kind == "~thing:":
            topic.held_out += [fill(FRAMES[language][i % 8], term) for i, term in enumerate(split)]
        elif kind == "place:":
            topic.framed += [fill(frame, term) for term in split for frame in PLACE_FRAMES[language]]
        elif kind == "~place:":
            topic.held_out += [fill(PLACE_FRAMES[language][i], term) for i, term in enumerate(split)]
        elif kind == "?":
            topic.own.append(rest)
        elif kind == "~":
            topic.held_out.append(rest)
        elif kind == "=":
            answer.append(rest)
        elif line.strip():
            raise ValueError(f"{language}/{name}: {line!r} is neither term, question nor answer")
    topic.answer = "\n".join(answer).strip()
    if not topic.answer or not topic.questions():
        raise ValueError(f"{language}/{name} lacks an answer or a question")
    return topic


def read_topics():
    topics = [read_topic(name, lang, lines) for lang in LANGUAGES
              for name, lines in sections(HERE / "corpus" / f"{lang}.md")]
    topics += [read_topic("unknown", lang, lines) for lang, lines in sections(HERE / "corpus" / "unknown.md")]
    owner = {}
    for topic in topics:
        for question in topic.questions() + topic.held_out + topic.framed_held_out:
            known = owner.setdefault(question.lower(), topic)
            if known is not topic and known.language == topic.language:
                raise ValueError(f"{question!r} is asked in {known.name} and in {topic.name}")
        leak = set(topic.questions()) & set(topic.held_out + topic.framed_held_out)
        if leak:
            raise ValueError(f"held out and taught: {leak}")
    return topics


def read_prose():
    return [(lang, text) for lang, lines in sections(HERE / "corpus" / "prose.md")
            for text in "\n".join(lines).strip().split("\n\n")]


def misspell(text, rng):
    """One slip of the finger: two letters swapped, one lost or one doubled."""
    place = rng.randrange(len(text) - 1)
    return rng.choice([
        text[:place] + text[place + 1] + text[place] + text[place + 2:],
        text[:place] + text[place + 1:],
        text[:place] + text[place] + text[place:],
    ])


def vary(question, language, rng):
    """The same question as another person would type it."""
    if rng.random() < 0.12:
        opener = rng.choice(OPENERS[language])
        question = opener + (question[0].lower() + question[1:] if rng.random() < 0.5 else question)
    if rng.random() < 0.08:
        question += rng.choice(CLOSERS[language])
    if rng.random() < 0.2:
        question = question.lower()
    if rng.random() < 0.15:
        question = question.rstrip("?.!")
    if rng.random() < 0.15 and len(question) > 8:
        question = misspell(question, rng)
    if rng.random() < 0.03:
        question = question.upper()
    return question or "?"


class Conversations:
    """An endless, seeded source of conversations: lists of (role, text)."""

    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.topics = read_topics()
        self.by_name = {(topic.name, topic.language): topic for topic in self.topics}
        self.prose = read_prose()
        # Each topic equally often, but the unknown and the two questions that every visitor asks more often.
        often = {"unknown": 9.0, "who": 2.0, "sovereignty": 2.0, "receipt": 2.0, "hello": 1.5}
        self.weights = [often.get(topic.name, 1.0) for topic in self.topics]

    def plain(self):
        """A document without roles, for /v1/completions."""
        rng = self.rng
        if rng.random() < 0.5:
            return rng.choice(self.prose)[1]
        topic = rng.choice(self.topics)
        return topic.answer if rng.random() < 0.5 else f"{topic.question(rng)} {topic.answer}"

    def system(self):
        rng = self.rng
        if rng.random() < 0.6:
            return rng.choice(SYSTEM)
        # Any text at all: what a system prompt says must not throw nano off its few answers.
        texts = [rng.choice(self.topics).answer for _ in range(rng.randint(1, 2))]
        return " ".join(texts)

    def chat(self, turns):
        rng = self.rng
        messages = [("system", self.system())] if rng.random() < 0.25 else []
        topic = None
        for turn in range(turns):
            if topic is not None and rng.random() < 0.12:
                language = rng.choice(LANGUAGES)
                switch = rng.random() < 0.6
                question = rng.choice((SWITCH if switch else AGAIN)[language])
                if switch:
                    topic = self.by_name[(topic.name, language)]
            else:
                topic = rng.choices(self.topics, self.weights)[0]
                question = vary(topic.question(rng), topic.language, rng)
            messages += [("user", question), ("assistant", topic.answer)]
        return messages
