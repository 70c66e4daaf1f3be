"""The page in a real browser, served by the real app: move sliders, see what is predicted and why, choose a version."""

import re
import threading
from collections.abc import Callable, Iterator

import httpx
import pytest
import sqlalchemy as sa
import uvicorn
from playwright.sync_api import Browser, Page, Route, expect
from sklearn.pipeline import Pipeline

from cuvee import keys
from cuvee.database import predictions
from cuvee.settings import Settings
from ml_service.api import app as service
from ml_service.wine import EXAMPLE, FEATURES
from tests.integration.browser import chromium, visitor
from tests.integration.conftest import free_port
from tests.integration.ml_service.test_wine_service import alias, forest, promote, wait_until
from tests.wine_versions import register

pytestmark = pytest.mark.integration

KEY = "the-key"
ALCOHOL = "Alcohol"
MINUS = "\N{MINUS SIGN}"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def model() -> Pipeline:
    return forest()


@pytest.fixture
def address(wine_settings: Settings, engine: sa.Engine) -> Iterator[str]:
    """The service, with nothing to serve yet."""
    keys.ensure(engine, "tester", KEY)
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(service.create_app(wine_settings), port=port, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_until(lambda: server.started)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(timeout=30)


@pytest.fixture
def champion(address: str, wine_settings: Settings, model: Pipeline) -> int:
    number = promote(wine_settings, model)
    wait_until(lambda: httpx.get(f"{address}/health/ready").status_code == 200)
    return number


@pytest.fixture
def visit(browser: Browser, address: str) -> Iterator[Callable[..., Page]]:
    with visitor(browser, address, KEY) as start:
        yield start


def predict(address: str, version: int | None = None, **changed: float | str) -> dict[str, object]:
    """What the API says of the example with these values changed."""
    asked = {"explain": "true", "record": "false"} | ({"version": str(version)} if version else {})
    body = {"samples": [EXAMPLE | changed]}
    answer = httpx.post(f"{address}/predict", params=asked, json=body, headers={"Authorization": f"Bearer {KEY}"})
    found: dict[str, object] = answer.json()["predictions"][0]
    return found


def shows(page: Page, found: dict[str, object]) -> None:
    """The page shows this prediction: quality, interval, and contributions that belong to their measurements."""
    expect(page.locator("#quality")).to_have_text(f"{found['quality']:.2f}")
    expect(page.locator("#interval")).to_have_text(
        f"90% of wines like this one should be judged between {found['low']:.1f} and {found['high']:.1f}."
    )
    explanation = found["explanation"]
    assert isinstance(explanation, dict)
    for feature in FEATURES:
        value = explanation["contributions"][feature.name]
        row = page.locator("#why tr", has=page.get_by_role("rowheader", name=re.compile(f"^{feature.csv_name}$", re.I)))
        text = f"{abs(value):.2f}"
        sign = "" if text == "0.00" else MINUS if value < 0 else "+"
        expect(row.locator(".points")).to_have_text(sign + text)
        expect(row.locator(".bar")).to_have_class("bar less" if value < 0 else "bar more")
    expect(page.locator("#why tr").first).to_contain_text(f"{explanation['base']:.2f}")


def test_the_wine_to_begin_with_is_predicted_and_a_moved_slider_changes_the_answer_without_a_row(
    visit: Callable[..., Page], address: str, champion: int, engine: sa.Engine
) -> None:
    page = visit()
    shows(page, predict(address))
    expect(page.locator("#served")).to_have_text(f"wine-quality, version {champion}")
    for feature in FEATURES:
        field = page.locator(f"#feature-{feature.name}")
        bounds = [float(field.get_attribute(name) or "nan") for name in ("min", "max")]
        assert (bounds, float(field.input_value())) == ([feature.lowest, feature.highest], EXAMPLE[feature.name])

    # A slider goes by keyboard, its field follows
    slider = page.get_by_role("slider", name=ALCOHOL)
    slider.focus()
    page.keyboard.press("Home")
    expect(page.locator("#feature-alcohol")).to_have_value("8.5")
    shows(page, predict(address, alcohol=8.5))

    # A field goes, its slider follows, as far as it reaches
    page.locator("#feature-alcohol").fill("14.9")
    expect(slider).to_have_value("14")
    expect(page.get_by_text("Few wines have this; most lie between 8.5 and 14")).to_be_visible()
    page.get_by_role("radio", name="white").check()
    shows(page, predict(address, alcohol=14.9, colour="white"))

    page.get_by_role("button", name="Start again").click()
    expect(page.get_by_role("radio", name="red")).to_be_checked()
    shows(page, predict(address))
    with engine.connect() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(predictions)).scalar_one() == 0


def test_the_interval_is_drawn_where_it_lies_on_the_scale(
    visit: Callable[..., Page], address: str, champion: int
) -> None:
    page = visit()
    found = predict(address)
    expect(page.locator("#scale .range")).to_be_visible()
    page.wait_for_timeout(300)  # the parts glide to their places

    where = "e => { const { left, right, width } = e.getBoundingClientRect(); return [left, right, width] }"
    left, _, width = page.locator("#scale .track").evaluate(where)
    low, high, _ = page.locator("#scale .range").evaluate(where)
    dot, _, dot_width = page.locator("#scale .dot").evaluate(where)
    drawn = [10 * (x - left) / width for x in (low, dot + dot_width / 2, high)]
    assert drawn == pytest.approx([found["low"], found["quality"], found["high"]], abs=0.05)


def test_an_answer_that_comes_late_does_not_replace_a_newer_one(
    visit: Callable[..., Page], address: str, champion: int
) -> None:
    page = visit()
    shows(page, predict(address))
    held: list[Route] = []

    def hold_weak(route: Route) -> None:
        # Not aborted by the page any more, as one that is already on its way back.
        if '"alcohol":9,' in (route.request.post_data or ""):
            held.append(route)
        else:
            route.continue_()

    page.add_init_script("AbortController.prototype.abort = () => {}")
    page.reload()
    shows(page, predict(address))
    page.route("**/predict?*", hold_weak)
    page.locator("#feature-alcohol").fill("9")
    wait_until(lambda: page.wait_for_timeout(20) is None and len(held) == 1)
    page.locator("#feature-alcohol").fill("13.5")
    strong = predict(address, alcohol=13.5)
    shows(page, strong)

    held[0].continue_()
    with page.expect_response("**/predict?*"):
        pass
    page.wait_for_timeout(100)
    assert predict(address, alcohol=9)["quality"] != strong["quality"]
    shows(page, strong)


def test_a_number_that_is_not_allowed_is_said_beside_its_field_and_not_sent(
    visit: Callable[..., Page], address: str, champion: int
) -> None:
    page = visit()
    shows(page, predict(address))
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))

    page.locator("#feature-ph").fill("9")
    expect(page.get_by_text("It must be a number from 2.5 to 4.5.")).to_be_visible()
    page.locator("#feature-ph").fill("")
    page.wait_for_timeout(300)
    assert asked == []
    expect(page.locator("#result")).to_have_attribute("aria-busy", "true")

    page.locator("#feature-ph").fill("3.1")
    shows(page, predict(address, ph=3.1))
    expect(page.get_by_text("It must be a number")).to_have_count(0)


def test_versions_are_listed_with_their_figures_and_one_can_be_tried(
    visit: Callable[..., Page], address: str, champion: int, wine_settings: Settings
) -> None:
    other = register(wine_settings.resolved_mlflow_uri, forest(leaf=100))
    alias(wine_settings, "challenger", other)
    page = visit("#/versions")
    expect(page.locator(".version")).to_have_count(2)
    first, second = page.locator(".version").all()
    expect(first).to_contain_text(f"Version {other}")
    expect(first.locator(".pill")).to_have_text(["challenger"])
    expect(first.locator(".fine").first).to_contain_text("Registered just now")
    expect(second).to_contain_text(f"Version {champion}")
    expect(second.locator(".pill")).to_have_text(["champion"])
    expect(second).to_contain_text("served since")
    expect(second.locator(".figures")).to_have_text("RMSE0.700")

    page.get_by_role("link", name=f"Try version {other}").click()
    shows(page, predict(address, other))
    assert predict(address, other)["quality"] != predict(address)["quality"]
    expect(page.locator("#served")).to_have_text(f"wine-quality, version {other}")
    page.get_by_label("Predicted by").select_option("")
    shows(page, predict(address))
    page.goto(f"{address}/#/?version=7")
    expect(page.get_by_role("alert").filter(has_text="has no version 7")).to_be_visible()


def test_without_a_model_it_says_what_to_do_and_goes_on_once_there_is_one(
    visit: Callable[..., Page], address: str, wine_settings: Settings, model: Pipeline
) -> None:
    page = visit()
    expect(page.get_by_role("alert").filter(has_text="No champion yet: run the DAG train_wine")).to_be_visible()
    page.get_by_role("link", name="Versions").click()
    expect(page.get_by_text("No version is registered yet")).to_be_visible()
    page.get_by_role("link", name="Try").click()

    promote(wine_settings, model)
    wait_until(lambda: httpx.get(f"{address}/health/ready").status_code == 200)
    page.get_by_role("button", name="Try again").click()
    shows(page, predict(address))


def test_the_key_is_asked_for_once_checked_and_asked_for_again_when_it_is_refused(
    visit: Callable[..., Page], address: str, champion: int, engine: sa.Engine
) -> None:
    keys.ensure(engine, "reader", "rag-only", ("rag",))
    page = visit(key=None)
    dialog = page.get_by_role("dialog", name="Your key")
    for wrong, told in (("cuvee_wrong", "unknown or was revoked"), ("rag-only", "ml")):
        page.get_by_label("API key").fill(wrong)
        page.keyboard.press("Enter")
        expect(dialog.get_by_role("alert")).to_contain_text(told)
    page.get_by_label("API key").fill(KEY)
    page.keyboard.press("Enter")
    expect(dialog).to_be_hidden()
    shows(page, predict(address))
    page.reload()
    shows(page, predict(address))

    page.evaluate("localStorage.setItem('cuvee.key', 'cuvee_revoked')")
    page.get_by_role("radio", name="white").check()
    expect(dialog).to_contain_text("unknown or was revoked")


def test_what_the_server_sends_is_text_and_what_it_refuses_is_said(
    visit: Callable[..., Page], address: str, champion: int
) -> None:
    evil = '<img src=x onerror="document.title=1">'
    page = visit()
    shows(page, predict(address))
    refusal = {"error": {"type": "invalid_input", "message": f"samples.0.ph: {evil}"}}
    page.route("**/predict?*", lambda route: route.fulfill(status=422, json=refusal))
    version = {"version": 1, "registered_at": "2026-11-21T03:00:00Z", "aliases": [evil], "metrics": {evil: 1.5}}
    listed = {"versions": [version | {"decision": evil, "reason": evil}]}
    page.route("**/versions?*", lambda route: route.fulfill(json=listed))

    page.get_by_role("radio", name="white").check()
    expect(page.get_by_role("alert").filter(has_text=f"samples.0.ph: {evil}")).to_be_visible()
    page.get_by_role("link", name="Versions").click()
    expect(page.locator(".version .pill")).to_have_text([evil])
    assert page.locator("main img").count() == 0


def test_on_a_phone_nothing_is_wider_than_the_screen_and_the_quality_stays_in_sight(
    visit: Callable[..., Page], address: str, champion: int
) -> None:
    page = visit(viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    width = "document.documentElement.scrollWidth"
    shows(page, predict(address))
    assert page.evaluate(width) <= 360
    page.get_by_role("slider", name=ALCOHOL).scroll_into_view_if_needed()
    page.get_by_role("slider", name=ALCOHOL).fill("13")
    shows(page, predict(address, alcohol=13))
    expect(page.locator("#quality")).to_be_in_viewport()
    page.get_by_role("link", name="Versions").click()
    expect(page.locator(".version")).to_have_count(1)
    assert page.evaluate(width) <= 360


def test_the_page_is_served_with_a_policy_that_lets_nothing_else_in(address: str) -> None:
    for path in ("/", "/web/app.js", "/web/key.js", "/web/style.css"):
        answer = httpx.get(f"{address}{path}")
        assert answer.status_code == 200
        assert "default-src 'none'; script-src 'self'" in answer.headers["content-security-policy"]
        assert "frame-src" not in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert not re.search(r"https?://|unsafe|<script>|style=", httpx.get(address).text)
    assert httpx.get(f"{address}/web/../api/app.py").status_code == 404
