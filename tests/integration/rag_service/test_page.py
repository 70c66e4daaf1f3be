"""The page in a real browser, served by the real app: ask, read what is cited, judge, send in, fail, try again."""

import re
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict

import pytest
import sqlalchemy as sa
from playwright.sync_api import Browser, Locator, Page, Route, expect

from cuvee.database import answer_feedback, questions
from cuvee.settings import Settings
from rag_service.answers.answerer import Answer, Quote, Sentence, Source, Versions
from rag_service.feedback import log
from tests.integration.browser import chromium, visitor
from tests.integration.rag_service.conftest import KEY
from tests.integration.rag_service.live import document, document_id, pdf, served, set_document, shelve
from tests.integration.rag_service.serving import LIBRARY, build, passages, publish

pytestmark = pytest.mark.integration

QUESTION = "When does the cellar museum open?"
OPENS = "It opens on the first Sunday of March, from ten to four."
OFF_TOPIC = "Who won the football world cup in 1998?"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture
def address(engine: sa.Engine, settings: Settings, key_id: int) -> Iterator[str]:
    """LIBRARY, in which the museum is a PDF of two pages, indexed and served."""
    records = passages(LIBRARY, settings)
    for record in records:
        if record["document_id"] == "doc-museum":
            record |= {"page": 1, "page_breaks": [record["text"].index(OPENS)]}
    publish(engine, build(records, settings, 1))
    shelve(engine, settings, {"museum": pdf("The cellar museum", OPENS)})
    with served(settings) as url:
        yield url


@pytest.fixture
def visit(browser: Browser, address: str) -> Iterator[Callable[..., Page]]:
    with visitor(browser, address, KEY) as start:
        yield start


def ask(page: Page, question: str) -> Locator:
    """Ask by keyboard, wait for the whole answer; its turn in the conversation."""
    before = page.locator(".foot").count()
    page.get_by_label("Your question").fill(question)
    page.keyboard.press("Enter")
    expect(page.locator(".foot")).to_have_count(before + 1)
    return page.locator(".turn").last


def test_the_key_is_asked_for_once_checked_and_can_be_forgotten(visit: Callable[..., Page]) -> None:
    page = visit(key=None)
    dialog = page.get_by_role("dialog", name="Your key")
    page.get_by_label("API key").fill("cuvee_wrong")
    page.keyboard.press("Enter")
    expect(dialog).to_contain_text("unknown or was revoked")
    page.keyboard.press("Escape")
    expect(dialog).to_be_visible()
    # No request can carry this one, as it is copied from where it was shortened.
    page.get_by_label("API key").fill("cuvee_for…")
    page.keyboard.press("Enter")
    expect(dialog).to_contain_text("plain letters, digits and signs")

    page.get_by_label("API key").fill(KEY)
    page.keyboard.press("Enter")
    expect(dialog).to_be_hidden()
    expect(page.get_by_text("3 documents in 2 topics")).to_be_visible()
    page.reload()
    expect(page.get_by_text("3 documents in 2 topics")).to_be_visible()

    page.get_by_role("button", name="Key", exact=True).click()
    page.get_by_role("button", name="Forget key").click()
    page.reload()
    expect(dialog).to_be_visible()


def test_a_citation_opens_its_document_with_the_words_marked_and_the_page_of_the_pdf(
    visit: Callable[..., Page],
) -> None:
    page = visit(viewport={"width": 1400, "height": 800})
    turn = ask(page, QUESTION)
    expect(turn.locator(".answer")).to_contain_text("first Sunday of March")
    citation = turn.get_by_role("button", name="Source 1: The cellar museum, page 2").first
    citation.click()

    reader = page.locator("#reader")
    expect(reader.locator("mark", has_text=OPENS)).to_be_in_viewport()
    expect(reader.locator(".text")).to_have_text(re.compile(r"Tickets are sold at the gate\.$"))
    frame = reader.locator("iframe")
    expect(frame).to_be_visible()
    assert re.match(r"blob:.*#page=2", frame.get_attribute("src") or "")

    page.keyboard.press("Escape")
    expect(reader).to_be_hidden()
    expect(citation).to_be_focused()


def test_a_citation_opens_the_page_of_the_quote_that_its_sentence_rests_on(
    visit: Callable[..., Page], engine: sa.Engine, key_id: int
) -> None:
    text = LIBRARY["museum"][1]
    keeps = "The cellar museum keeps an iron press from 1871."
    starts = [(said, text.index(said)) for said in (keeps, OPENS)]
    quotes = [Quote(said, at, at + len(said), page) for page, (said, at) in enumerate(starts, start=1)]
    source = Source(1, "doc-museum", "Museum", "museum.txt", 1, 0, len(text), text, 0.5, tuple(quotes))
    sentences = (Sentence(OPENS, (1,), (1,)), Sentence(keeps, (1,), (0,)))
    answer = Answer("as quoted", False, sentences, (source,), (), "", Versions(1, "e", "m"), {"total": 1.0})
    question = log.record(engine, key_id, log.Posed("When?"), answer)
    page = visit(f"#/questions/{question}", viewport={"width": 1400, "height": 800})
    frame = page.locator("#reader iframe")

    page.get_by_role("button", name="Source 1: Museum, page 2").click()
    expect(frame).to_have_attribute("src", re.compile("#page=2&"))
    expect(page.locator("#reader mark.own")).to_have_text(OPENS)
    page.get_by_role("button", name="Source 1: Museum, page 1").click()
    expect(frame).to_have_attribute("src", re.compile("#page=1&"))
    page.locator(".source").click()
    expect(page.locator("#reader mark.own")).to_have_text(keeps)


def test_an_answer_from_before_quotes_had_pages_opens_its_sources_page(
    visit: Callable[..., Page], engine: sa.Engine, key_id: int
) -> None:
    text = LIBRARY["museum"][1]
    quote = {"text": OPENS, "start_char": text.index(OPENS), "end_char": text.index(OPENS) + len(OPENS)}
    source = Source(1, "doc-museum", "Museum", "museum.txt", 2, 0, len(text), text, 0.5)
    answer = Answer(OPENS, False, (Sentence(OPENS, (1,)),), (source,), (), "", Versions(1, "e", "m"), {"total": 1.0})
    question = log.record(engine, key_id, log.Posed("When?"), answer)
    old = {"sentences": [{"text": OPENS, "citations": [1]}], "sources": [{**asdict(source), "quotes": [quote]}]}
    with engine.begin() as connection:
        connection.execute(sa.update(questions).where(questions.c.question_id == question).values(**old))
    page = visit(f"#/questions/{question}", viewport={"width": 1400, "height": 800})

    page.get_by_role("button", name="Source 1: Museum, page 2").click()
    expect(page.locator("#reader iframe")).to_have_attribute("src", re.compile("#page=2&"))


def test_quoted_rows_of_a_table_are_shown_as_one_table_with_their_citations(
    visit: Callable[..., Page], engine: sa.Engine, key_id: int
) -> None:
    head = "Stage | Reading | Action"
    rows = ["Amber | 5,000 ppm | Finish the work", "Red | 15,000 ppm | Leave"]
    sources = [Source(n, "doc-gas", "Gas", "gas.txt", None, 0, len(row), row, 0.5) for n, row in enumerate(rows, 1)]
    answer = Answer(
        answer="as in the rows",
        refused=False,
        sentences=tuple(Sentence(f"{head}\n{row}", (n,)) for n, row in enumerate(rows, 1)),
        sources=tuple(sources),
        nearest=(),
        searched="",
        versions=Versions(1, "e", "m"),
        timings_ms={"total": 1.0},
    )
    page = visit(f"#/questions/{log.record(engine, key_id, log.Posed('What to do?'), answer)}")

    table = page.get_by_role("region", name="Table")
    expect(table.get_by_role("columnheader")).to_have_text(["Stage", "Reading", "Action"])
    expect(table.locator("tbody tr")).to_have_text(["Amber5,000 ppmFinish the work 1", "Red15,000 ppmLeave 2"])


def test_a_refusal_shows_the_nearest_passages(visit: Callable[..., Page]) -> None:
    turn = ask(visit(), OFF_TOPIC)

    expect(turn.locator(".answer")).to_contain_text("Not found in the documents")
    expect(turn.get_by_role("region", name="Nearest passages").locator("li").first).to_be_visible()
    expect(turn.locator(".cite")).to_have_count(0)


def test_a_verdict_is_recorded_with_its_reason_and_the_right_document_and_given_again_keeps_them(
    visit: Callable[..., Page], engine: sa.Engine
) -> None:
    page = visit()
    turn = ask(page, OFF_TOPIC)
    down = turn.get_by_role("button", name="This answer is wrong")
    reason = turn.get_by_placeholder(re.compile("What is wrong"))
    right = turn.get_by_label("The answer would be in")
    send = turn.get_by_role("button", name="Send")
    noted = turn.get_by_text("Thank you, it is noted.")
    given = ("down", "It is in the barrels.", "doc-barrels")

    def recorded() -> tuple[str, ...]:
        with engine.connect() as connection:
            row = connection.execute(sa.select(answer_feedback)).one()
        return row.verdict, row.comment, row.correct_document_id

    down.click()
    expect(down).to_have_attribute("aria-pressed", "true")
    reason.fill("It is in the barrels.")
    right.select_option("doc-barrels")
    send.click()
    expect(noted).to_be_visible()
    assert recorded() == given

    down.click()
    expect(reason).to_have_value("It is in the barrels.")
    expect(right).to_have_value("doc-barrels")
    assert recorded() == given

    # Shown again later, when that document is no longer among those to choose from.
    set_document(engine, "doc-barrels", state="superseded")
    page.reload()
    page.get_by_role("link", name=OFF_TOPIC).click()
    down.click()
    expect(reason).to_have_value("It is in the barrels.")
    send.click()
    expect(noted).to_be_visible()
    assert recorded() == given


def test_filters_and_what_was_said_before_go_with_the_question(visit: Callable[..., Page], engine: sa.Engine) -> None:
    page = visit()
    ask(page, QUESTION)
    page.get_by_label("Topic").first.select_option("cellar")
    page.get_by_label("Segment").first.select_option("safety")
    ask(page, "How is gas detected?")

    with engine.connect() as connection:
        first, second = connection.execute(sa.select(questions).order_by(questions.c.asked_at)).all()
    assert (first.topic, first.history) == (None, [])
    assert (second.topic, second.segment) == ("cellar", "safety")
    assert [turn["role"] for turn in second.history] == ["user", "assistant"]
    assert second.history[1]["titles"][0] == "The cellar museum"
    assert second.history[0]["text"] == QUESTION and OPENS in second.history[1]["text"]


def test_an_earlier_answer_is_shown_again_as_it_was_given(visit: Callable[..., Page], engine: sa.Engine) -> None:
    page = visit()
    ask(page, QUESTION)
    page.get_by_role("button", name="New conversation").click()
    page.reload()
    page.get_by_role("link", name=QUESTION).click()

    expect(page.locator(".turn")).to_contain_text("shown as it was answered then")
    expect(page.locator(".answer")).to_contain_text("first Sunday of March")
    with engine.connect() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(questions)).scalar_one() == 1


def test_an_earlier_answer_that_comes_late_is_no_part_of_a_new_conversation(
    visit: Callable[..., Page], engine: sa.Engine
) -> None:
    page = visit()
    ask(page, QUESTION)
    page.reload()

    def on_its_way(route: Route) -> None:
        page.get_by_role("button", name="New conversation").click()
        route.continue_()

    page.route("**/questions/*", on_its_way)
    with page.expect_response("**/questions/*") as late:
        page.get_by_role("link", name=QUESTION).click()
    late.value.finished()
    ask(page, "How is gas detected?")

    with engine.connect() as connection:
        history = sa.select(questions.c.history).order_by(questions.c.asked_at.desc()).limit(1)
        assert connection.execute(history).scalar_one() == []


def test_what_was_deleted_since_is_not_shown_again(visit: Callable[..., Page], engine: sa.Engine) -> None:
    page = visit()
    turn = ask(page, QUESTION)
    set_document(engine, "doc-museum", state="deleted")
    turn.locator(".cite").first.click()
    expect(page.locator("#reader")).to_contain_text("was deleted")
    expect(page.locator("#reader")).not_to_contain_text("first Sunday")
    page.get_by_role("button", name="New conversation").click()
    page.reload()
    page.get_by_role("link", name=QUESTION).click()

    turn = page.locator(".turn")
    expect(turn).to_contain_text("shown as it was answered then, without what was deleted since")
    expect(turn.locator(".answer")).to_contain_text("Removed with the document that said this")
    expect(turn.locator(".source")).to_contain_text("The cellar museum")
    expect(turn.locator(".source")).to_contain_text("was deleted or replaced since; what it said is not kept")
    expect(page.locator("body")).not_to_contain_text("first Sunday")
    turn.locator(".source").click()
    expect(page.locator("#reader")).to_contain_text("was deleted")


def test_a_slash_goes_to_the_question_and_shift_enter_makes_a_line(visit: Callable[..., Page]) -> None:
    page = visit("#/documents")
    expect(page.locator(".document")).to_have_count(3)
    page.keyboard.press("/")
    box = page.get_by_label("Your question")
    expect(box).to_be_focused()
    page.keyboard.type("one")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("two")

    expect(box).to_have_value("one\ntwo")


DROP = """({ name, text }) => {
  const data = new DataTransfer();
  data.items.add(new File([text], name));
  const dropped = new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true });
  document.getElementById("drop").dispatchEvent(dropped);
}"""


def test_a_dropped_file_is_sent_and_its_way_is_followed_to_failed_again_and_indexed(
    visit: Callable[..., Page], engine: sa.Engine
) -> None:
    page = visit("#/documents")
    page.get_by_label("Topic").last.fill("cellar")
    page.get_by_label("Segment").last.fill("alarms")
    page.evaluate(DROP, {"name": "alarm.txt", "text": "Leave at once."})
    row = page.locator(".document", has_text="alarm.txt")
    expect(row).to_contain_text("waiting")
    sent = document_id("cellar", "alarms", "alarm.txt", b"Leave at once.")
    assert document(engine, sent).state == "landed"

    set_document(engine, sent, state="failed", error="It is <b>locked</b> by a password.")
    expect(row).to_contain_text("failed")
    expect(row).to_contain_text("It is <b>locked</b> by a password.")

    row.get_by_role("button", name="Try again").click()
    expect(row).to_contain_text("waiting")
    assert document(engine, sent).state == "landed"

    set_document(engine, sent, state="indexed", title="The alarm", chunks=1)
    expect(page.locator(".document", has_text="The alarm")).to_contain_text("indexed")


def test_a_file_that_is_not_taken_says_why(visit: Callable[..., Page]) -> None:
    page = visit("#/documents")
    choose = page.locator("#files")
    choose.set_input_files([{"name": "a.exe", "mimeType": "application/octet-stream", "buffer": b"MZ"}])
    expect(page.get_by_text("Say first which topic and segment")).to_be_visible()
    page.get_by_label("Topic").last.fill("cellar")
    page.get_by_label("Segment").last.fill("alarms")
    choose.set_input_files([{"name": "a.exe", "mimeType": "application/octet-stream", "buffer": b"MZ"}])

    expect(page.get_by_text("a.exe was not taken: Files of the type '.exe' are not supported")).to_be_visible()


def test_a_document_is_deleted_only_after_a_second_yes(visit: Callable[..., Page], engine: sa.Engine) -> None:
    page = visit("#/documents")
    row = page.locator(".document", has_text="Barrels")
    row.get_by_role("button", name="Delete").click()
    page.get_by_role("button", name="Keep it").click()
    assert document(engine, "doc-barrels").state == "indexed"

    row.get_by_role("button", name="Delete").click()
    page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    expect(row).to_have_count(0)
    assert document(engine, "doc-barrels").state == "deleted"


def test_a_link_to_a_passage_opens_it(visit: Callable[..., Page]) -> None:
    page = visit("#/documents/doc-museum?start=19&end=67&page=2")

    expect(page.locator("#reader mark")).to_have_text("The cellar museum keeps an iron press from 1871.")


def test_a_link_that_was_cut_off_says_so_where_one_can_ask(visit: Callable[..., Page]) -> None:
    page = visit("#/documents/caf%C3%")

    expect(page.get_by_role("alert").filter(has_text="This link is damaged")).to_be_visible()
    expect(page.get_by_label("Your question")).to_be_visible()
    expect(page.get_by_text("3 documents in 2 topics")).to_be_visible()


def test_on_a_phone_back_closes_what_an_answer_or_the_list_opened(visit: Callable[..., Page]) -> None:
    page = visit(viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    reader = page.locator("#reader")
    turn = ask(page, QUESTION)
    turn.locator(".cite").first.click()
    expect(reader.locator("mark", has_text=OPENS)).to_be_in_viewport()
    page.go_back()
    expect(reader).to_be_hidden()
    expect(turn.locator(".answer")).to_be_visible()

    # Closed by its button it leaves no step behind that Back would have to take.
    page.get_by_role("link", name="Documents").click()
    page.get_by_role("link", name="Ask", exact=True).click()
    turn.locator(".source").first.click()
    page.get_by_role("button", name="Close the document").click()
    expect(reader).to_be_hidden()
    page.go_back()
    expect(page.locator("#documents")).to_be_visible()

    page.get_by_role("link", name="Barrels").click()
    expect(reader.locator(".text")).to_contain_text("topped up every week")
    page.go_back()
    expect(reader).to_be_hidden()
    expect(page.locator(".document")).to_have_count(3)


def test_a_forgotten_key_leaves_nothing_that_was_got_with_it(visit: Callable[..., Page]) -> None:
    page = visit(viewport={"width": 1400, "height": 800})
    ask(page, QUESTION)
    page.reload()
    expect(page.get_by_role("link", name=QUESTION)).to_be_visible()
    page.get_by_role("link", name="Documents").click()
    page.get_by_role("link", name="The cellar museum").click()
    expect(page.locator("#reader .text")).to_contain_text("iron press")

    page.get_by_role("button", name="Key", exact=True).click()
    page.get_by_role("button", name="Forget key").click()

    expect(page.locator("#reader")).to_be_hidden()
    expect(page.locator(".document")).to_have_count(0)
    expect(page.locator("#recent-list li")).to_have_count(0)
    for known in ("museum", "Barrels", "iron press", "ageing", "3 documents"):
        expect(page.locator("body")).not_to_contain_text(known)

    page.get_by_label("API key").fill(KEY)
    page.keyboard.press("Enter")
    expect(page.locator(".document")).to_have_count(3)


@pytest.mark.parametrize(
    ("place", "held", "shown"), [("", "/questions?", "#recent-list"), ("#/documents", "/documents?", "#list")]
)
def test_what_is_on_its_way_when_the_key_is_forgotten_is_not_shown(
    place: str, held: str, shown: str, visit: Callable[..., Page]
) -> None:
    page = visit()
    ask(page, QUESTION)
    waiting: list[Route] = []
    page.goto(f"{page.url.split('#')[0]}{place}")
    page.route(lambda url: held in url, lambda route: waiting.append(route))
    with page.expect_request(lambda request: held in request.url):
        page.reload()
    page.get_by_role("button", name="Key", exact=True).click()
    page.get_by_role("button", name="Forget key").click()
    for route in waiting:
        route.continue_()

    page.wait_for_timeout(500)
    expect(page.locator(f"{shown} a")).to_have_count(0)
    expect(page.locator("#notice")).to_be_hidden()
    expect(page.locator("#key-problem")).to_be_hidden()


def test_what_the_server_sends_is_text_and_never_runs(visit: Callable[..., Page], engine: sa.Engine) -> None:
    evil = '<img src=x onerror="document.title=1">'
    set_document(engine, "doc-museum", title=evil)
    turn = ask(visit(), f"{QUESTION} {evil}")

    expect(turn.locator(".asked")).to_have_text(f"{QUESTION} {evil}")
    turn.locator(".source").first.click()
    expect(turn.page.locator("#reader-title")).to_have_text(evil)
    assert turn.page.locator("main img, aside img").count() == 0


def test_a_broken_answer_says_so_and_can_be_asked_again(
    visit: Callable[..., Page], monkeypatch: pytest.MonkeyPatch
) -> None:
    page = visit()

    def broken(*_: object) -> uuid.UUID:
        raise RuntimeError("the log is full")

    monkeypatch.setattr(log, "record", broken)
    page.get_by_label("Your question").fill(QUESTION)
    page.get_by_role("button", name="Ask", exact=True).click()
    expect(page.get_by_role("alert").filter(has_text="Something broke here")).to_be_visible()

    monkeypatch.undo()
    again, stop = (page.get_by_role("button", name=name) for name in ("Ask again", "Stop"))

    def on_its_way(route: Route) -> None:
        expect(stop).to_be_visible()
        again.click()
        route.continue_()

    # One at a time: while another question is on its way, this one is not asked again.
    page.route("**/ask", on_its_way, times=1)
    page.get_by_label("Your question").fill(OFF_TOPIC)
    page.keyboard.press("Enter")
    expect(page.locator(".answer")).to_contain_text("Not found in the documents")
    expect(stop).to_be_hidden()

    again.click()
    expect(page.locator(".answer").last).to_contain_text("first Sunday of March")


def test_on_a_phone_nothing_is_wider_than_the_screen(visit: Callable[..., Page]) -> None:
    page = visit(viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    width = "document.documentElement.scrollWidth"
    turn = ask(page, QUESTION)
    assert page.evaluate(width) <= 360
    turn.locator(".cite").first.click()
    expect(page.locator("#reader mark", has_text=OPENS)).to_be_in_viewport()
    page.get_by_role("button", name="Close the document").click()
    page.get_by_role("link", name="Documents").click()
    expect(page.locator(".document")).to_have_count(3)
    assert page.evaluate(width) <= 360
    ask_about_much = f"{QUESTION} {'And so on? ' * 20}".strip()
    page.get_by_role("link", name="Ask", exact=True).click()
    ask(page, ask_about_much)
    page.reload()
    expect(page.get_by_role("link", name=ask_about_much)).to_be_visible()

    assert page.evaluate(width) <= 360


def test_the_page_is_served_with_a_policy_that_lets_nothing_else_in(address: str) -> None:
    import httpx

    for path in ("/", "/web/app.js", "/web/style.css"):
        answer = httpx.get(f"{address}{path}")
        assert answer.status_code == 200
        assert "default-src 'none'; script-src 'self'" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert not re.search(r"https?://|unsafe|<script>|style=", httpx.get(address).text)
    assert httpx.get(f"{address}/web/../api/app.py").status_code == 404
