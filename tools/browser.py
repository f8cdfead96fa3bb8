"""Try the page that tools/webassembly.py made, in a headless Chromium: train, check bits and NaN.

    pip install selenium && apt-get install chromium chromium-driver
    python tools/browser.py FOLDER/page

Prints what the page prints. Exit status 1 if the training stops, learns nothing, or a check fails,
and without an engine and a CPU that fuse.
"""

import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.ui import WebDriverWait

LONGEST_WAIT = 300      # seconds


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


# Clang may make of a comparison an instruction of relaxed SIMD that loses a NaN.
NANS = """
import numpy as np
import fastbp
for row in ([np.nan, 0, 1], [0, np.nan, 1], [0, 1, np.nan]):
    deltas = [fastbp.softmax_with_logits(np.array([row], dtype), [2])[1] for dtype in "fd"]
    print(fastbp.get_isa(), *(np.isnan(delta).all() for delta in deltas))
"""


def text(browser, name):
    return browser.find_element("id", name).text


def press(browser, button):
    """What the page prints after a click."""
    waiting = WebDriverWait(browser, LONGEST_WAIT)
    waiting.until(lambda _: browser.find_element("id", button).is_enabled())
    browser.find_element("id", button).click()
    waiting.until(lambda _: text(browser, "state") in ("Done", "The program stopped"))
    print(output := text(browser, "output"), flush=True)
    return output


def main(folder):
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    options = ChromeOptions()
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    with Chrome(options, Service("/usr/bin/chromedriver")) as browser:
        print("Chromium", browser.capabilities["browserVersion"])
        browser.get(f"http://127.0.0.1:{server.server_port}/")
        trained = press(browser, "run")
        points = browser.find_element("css selector", "polyline").get_attribute("points").split()
        checked = press(browser, "check")
        browser.execute_script("document.getElementById('program').value = arguments[0]", NANS)
        nans = press(browser, "run")
    server.shutdown()
    heights = [float(point.split(",")[1]) for point in points]
    good = ("told right" in trained and len(points) == 100 and heights[-1] > heights[0]
            and "as recorded" in checked and "FAILED" not in checked
            and nans.splitlines() == ["relaxed True True"] * 3)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
