"""The page in a real browser: no console errors, a slider that tells the truth, no hostile code run."""

import base64
import json
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

pytestmark = pytest.mark.browser

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--window-size=1280,1000",
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    assert chromium, "install chromium (Debian: apt-get install chromium chromium-driver)"
    assert driver, "install chromedriver (Debian: apt-get install chromium-driver)"
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    options.set_capability("unhandledPromptBehavior", "ignore")
    started = webdriver.Chrome(options=options, service=webdriver.ChromeService(executable_path=driver))
    yield started
    started.quit()


def console(browser: webdriver.Chrome) -> list[Any]:
    return list(browser.get_log("browser"))


def problems(browser: webdriver.Chrome) -> list[Any]:
    return [entry for entry in console(browser) if entry["level"] in ("SEVERE", "WARNING")]


def load(browser: webdriver.Chrome, page: Path) -> WebElement:
    console(browser)  # empties it
    browser.get(page.as_uri())
    return browser.find_element(By.CSS_SELECTOR, "form.working-points")


def shown(form: WebElement, name: str) -> str:
    return form.find_element(By.NAME, name).text


def leading(text: str) -> float:
    return float(text.split(" ± ")[0].replace("\u202f", "").replace("−", "-"))


def curve_of(form: WebElement, model: str) -> dict[str, Any]:
    content = form.find_element(By.TAG_NAME, "script").get_attribute("textContent")
    (curve,) = [c for c in json.loads(str(content))["curves"] if c["model"] == model]
    return dict(curve)


def assert_numbers(form: WebElement, curve: dict[str, Any], i: int, signal: float, background: float, r: float) -> None:
    s, b = curve["signal_efficiency"][i], curve["background_efficiency"][i]
    low, high = curve["background_efficiency_low"][i], curve["background_efficiency_high"][i]
    assert leading(shown(form, "threshold")) == pytest.approx(curve["threshold"][i], rel=1e-3)
    assert leading(shown(form, "efficiency")) == pytest.approx(s, rel=1e-3)
    assert leading(shown(form, "rejection")) == pytest.approx(1 / b, abs=0.06 * abs(1 / low - 1 / high))
    assert leading(shown(form, "yield-signal")) == pytest.approx(signal * s, rel=1e-3)
    total = background * b
    z = signal * s / math.sqrt(total + (r * total) ** 2)
    assert leading(shown(form, "significance")) == pytest.approx(z, rel=2e-2)
    error = float(shown(form, "rejection").split(" ± ")[1])
    assert error == pytest.approx(abs(1 / low - 1 / high) / 2, rel=0.06)


def test_the_page_loads_from_disk_without_a_complaint(browser: webdriver.Chrome, report_page: Path) -> None:
    load(browser, report_page)
    assert problems(browser) == []
    broken = "return [...document.images].filter(i => !(i.complete && i.naturalWidth > 0)).length"
    assert browser.execute_script(broken) == 0
    wider = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert browser.execute_script(wider) == 0


def test_the_slider_moves_by_keyboard_and_shows_what_the_arrays_say(
    browser: webdriver.Chrome, report_page: Path
) -> None:
    form = load(browser, report_page)
    curve = curve_of(form, "cnn")
    slider = form.find_element(By.NAME, "point")
    start = int(str(slider.get_attribute("value")))
    assert curve["signal_efficiency"][start] == 0.5
    assert_numbers(form, curve, start, 100, 1000, 0.1)
    slider.send_keys(Keys.ARROW_LEFT * 3)
    assert int(str(slider.get_attribute("value"))) == start - 3
    assert_numbers(form, curve, start - 3, 100, 1000, 0.1)
    assert "47.0 %" in str(slider.get_attribute("aria-valuetext"))
    announced = form.find_element(By.CSS_SELECTOR, "[aria-live]").get_attribute("textContent")
    assert f"background rejection {shown(form, 'rejection')}" in str(announced)


def test_yields_and_model_can_be_changed(browser: webdriver.Chrome, report_page: Path) -> None:
    form = load(browser, report_page)
    for name, value in (("signal", "40"), ("background", "5000"), ("uncertainty", "0.02")):
        field = form.find_element(By.NAME, name)
        field.clear()
        field.send_keys(value)
    start = int(str(form.find_element(By.NAME, "point").get_attribute("value")))
    assert_numbers(form, curve_of(form, "cnn"), start, 40, 5000, 0.02)
    form.find_element(By.CSS_SELECTOR, "option[value='2']").click()
    chosen = int(str(form.find_element(By.NAME, "point").get_attribute("value")))
    curve = curve_of(form, "mass+tau21")
    assert curve["signal_efficiency"][chosen] == 0.5  # the efficiency is kept when the model changes
    assert_numbers(form, curve, chosen, 40, 5000, 0.02)


def test_the_button_finds_the_optimal_cut(browser: webdriver.Chrome, report_page: Path) -> None:
    form = load(browser, report_page)
    form.find_element(By.NAME, "optimum").send_keys(Keys.ENTER)
    curve = curve_of(form, "cnn")
    arrays = ("signal_efficiency", "background_efficiency", "background_efficiency_low", "background_efficiency_high")
    points = zip(*(curve[name] for name in arrays), strict=True)
    z = [
        100 * s / math.sqrt(1000 * b + (0.1 * 1000 * b) ** 2) if b > 0 and (high - low) / 2 <= 0.3 * b else -1.0
        for s, b, low, high in points
    ]
    assert int(str(form.find_element(By.NAME, "point").get_attribute("value"))) == z.index(max(z))


def test_nonsense_yields_show_a_dash_and_no_error(browser: webdriver.Chrome, report_page: Path) -> None:
    form = load(browser, report_page)
    field = form.find_element(By.NAME, "background")
    field.clear()
    field.send_keys("-5")
    assert shown(form, "significance") == "–"
    assert problems(browser) == []


def colours(browser: webdriver.Chrome) -> tuple[float, float]:
    """Luminance (0…255) of the page's paper and of its ink."""
    script = "const s = getComputedStyle(document.body); return [s.backgroundColor, s.color]"
    paper, ink = (
        [float(v) for v in c.split("(")[1].rstrip(")").split(",")[:3]] for c in browser.execute_script(script)
    )
    return sum(paper) / 3, sum(ink) / 3


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_follows_the_systems_colours_and_the_button_turns_them(
    browser: webdriver.Chrome, report_page: Path, scheme: str
) -> None:
    media = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": media})
    load(browser, report_page)
    paper, ink = colours(browser)
    assert (paper < 60 and ink > 200) if scheme == "dark" else (paper > 230 and ink < 60)
    browser.find_element(By.ID, "theme").click()
    turned_paper, turned_ink = colours(browser)
    assert (turned_paper > 230 and turned_ink < 60) if scheme == "dark" else (turned_paper < 60 and turned_ink > 200)
    figure = "return getComputedStyle(document.querySelector('figure img')).backgroundColor"
    assert "rgb(2" in browser.execute_script(figure)  # figures lie on a light card in both
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert problems(browser) == []


def test_print_is_black_on_white_without_navigation(browser: webdriver.Chrome, report_page: Path) -> None:
    load(browser, report_page)
    browser.execute_script("document.documentElement.dataset.theme = 'dark'")
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    paper, ink = colours(browser)
    assert (paper, ink) == (255, 0)
    for hidden in ("nav", "#theme", ".files"):
        assert not browser.find_element(By.CSS_SELECTOR, hidden).is_displayed()
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    assert base64.b64decode(browser.print_page()).startswith(b"%PDF")


def test_hostile_names_run_nothing_and_stand_as_text(browser: webdriver.Chrome, hostile_page: Path) -> None:
    form = load(browser, hostile_page)
    assert browser.title == "<script>alert(1)</script>"  # an open alert would have raised here
    assert problems(browser) == []
    assert len(browser.find_elements(By.CSS_SELECTOR, "script")) == 2
    assert browser.find_elements(By.CSS_SELECTOR, "img[src='x'], [onerror]") == []
    options = [option.text for option in form.find_elements(By.TAG_NAME, "option")]
    assert options[:2] == ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>']
    slider = form.find_element(By.NAME, "point")
    slider.send_keys(Keys.ARROW_RIGHT)
    assert leading(shown(form, "efficiency")) == pytest.approx(0.51, abs=1e-9)


def test_the_policy_stops_code_that_got_in_all_the_same(browser: webdriver.Chrome, report_page: Path) -> None:
    load(browser, report_page)
    browser.execute_script("""
        const script = document.createElement('script');
        script.textContent = 'window.intruder = true';
        document.body.append(script);
    """)
    assert browser.execute_script("return window.intruder === undefined")
    assert problems(browser)  # the refusal is logged
