#!/usr/bin/env python3
"""Drives a headless Chromium through its DevTools protocol, with nothing but the standard library.

usage: chromium.py BROWSER FOLDER STEP ARGUMENT [STEP ARGUMENT]...

FOLDER gets the browser's profile. Each step prints one line of JSON:

  open URL          waits for the page; null
  wait EXPRESSION   asks until it is true; its value
  eval EXPRESSION   its value
  key KEY           presses and releases one key: a character, Enter, Tab or Escape; null
  type TEXT         types into what has the focus; null
  size WxH          of the window; null
  scheme NAME       light or dark; null
  script on|off     for pages opened from now on; null
  hidden yes|no     as if the window were covered; null
  shot FILE         a PNG of what the window shows; null

What the browser's console says is printed on standard error. The exit status is 1 when a step fails.
"""
import base64
import json
import os
import select
import subprocess
import sys
import time

PATIENCE = 120
KEYS = {"Enter": ("Enter", 13, "\r"), "Tab": ("Tab", 9, ""), "Escape": ("Escape", 27, "")}


class Failed(Exception):
    pass


class Browser:
    def __init__(self, program, folder):
        # Chromium reads commands from descriptor 3 and answers on 4.
        commands, self.commands = os.pipe()
        self.answers, answers = os.pipe()

        def use_descriptors():
            # Out of the way first: either may be 3 or 4 itself.
            read, write = os.dup(commands), os.dup(answers)
            while read < 5:
                read = os.dup(read)
            while write < 5:
                write = os.dup(write)
            os.dup2(read, 3)
            os.dup2(write, 4)

        arguments = [
            "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", "--user-data-dir=" + folder,
            "--no-first-run", "--no-default-browser-check", "--disable-background-networking", "--disable-component-update",
            "--disable-dev-shm-usage", "--disable-extensions", "--disable-sync", "--no-proxy-server", "--hide-scrollbars",
            "--force-color-profile=srgb", "about:blank",
        ]
        self.process = subprocess.Popen(
            [program] + arguments, preexec_fn=use_descriptors, close_fds=False, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            # Otherwise Chromium writes crash reports into the home folder of the user.
            env=dict(os.environ, HOME=folder, XDG_CONFIG_HOME=folder, XDG_CACHE_HOME=folder))
        os.close(commands)
        os.close(answers)
        self.number = 0
        self.rest = b""
        self.events = []
        self.session = None
        target = next(t for t in self.ask("Target.getTargets")["targetInfos"] if t["type"] == "page")
        self.session = self.ask("Target.attachToTarget", targetId=target["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.ask(domain + ".enable")

    def read(self, deadline):
        while b"\0" not in self.rest:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.answers], [], [], left)[0]:
                raise Failed("the browser does not answer")
            more = os.read(self.answers, 1 << 20)
            if not more:
                raise Failed("the browser has ended")
            self.rest += more
        message, self.rest = self.rest.split(b"\0", 1)
        return json.loads(message)

    def ask(self, method, **parameters):
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.commands, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + PATIENCE
        while True:
            answer = self.read(deadline)
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise Failed("%s: %s" % (method, answer["error"]["message"]))
                return answer["result"]
            self.note(answer)

    def note(self, event):
        method, parameters = event.get("method"), event.get("params", {})
        self.events.append(method)
        if method == "Log.entryAdded":
            entry = parameters["entry"]
            print("%s: %s" % (entry["level"], entry["text"]), file=sys.stderr)
        elif method == "Runtime.exceptionThrown":
            details = parameters["exceptionDetails"]
            print("exception: %s" % details.get("exception", {}).get("description", details["text"]), file=sys.stderr)

    def wait_for_event(self, name):
        deadline = time.monotonic() + PATIENCE
        while name not in self.events:
            self.note(self.read(deadline))

    # Steps

    def step_open(self, url):
        self.events = []
        error = self.ask("Page.navigate", url=url).get("errorText")
        if error:
            raise Failed("%s: %s" % (url, error))
        self.wait_for_event("Page.loadEventFired")

    def step_eval(self, expression):
        result = self.ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise Failed("%s: %s" % (expression, result["exceptionDetails"]["exception"].get("description")))
        return result["result"].get("value")

    def step_wait(self, expression):
        deadline = time.monotonic() + PATIENCE
        while True:
            value = self.step_eval(expression)
            if value:
                return value
            if time.monotonic() > deadline:
                raise Failed("waited in vain for " + expression)
            time.sleep(0.02)

    def step_key(self, key):
        name, code, text = KEYS.get(key, (key, ord(key[0].upper()), key))
        parameters = {"key": name, "windowsVirtualKeyCode": code}
        self.ask("Input.dispatchKeyEvent", type="keyDown", text=text, **parameters)
        self.ask("Input.dispatchKeyEvent", type="keyUp", **parameters)

    def step_type(self, text):
        self.ask("Input.insertText", text=text)

    def step_size(self, text):
        width, height = map(int, text.split("x"))
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 700)

    def step_scheme(self, name):
        self.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    def step_script(self, word):
        self.ask("Emulation.setScriptExecutionDisabled", value=word == "off")

    def step_hidden(self, word):
        value = "hidden" if word == "yes" else "visible"
        self.step_eval(
            "Object.defineProperty(document, 'hidden', {value: %s, configurable: true});"
            "Object.defineProperty(document, 'visibilityState', {value: '%s', configurable: true});"
            "document.dispatchEvent(new Event('visibilitychange')); null" % (str(word == "yes").lower(), value))

    def step_shot(self, file):
        data = self.ask("Page.captureScreenshot", format="png")["data"]
        with open(file, "wb") as output:
            output.write(base64.b64decode(data))

    def end(self):
        self.process.kill()
        self.process.wait()


def main():
    program, folder, *steps = sys.argv[1:]
    browser = Browser(program, folder)
    try:
        for step, argument in zip(steps[::2], steps[1::2]):
            print(json.dumps(getattr(browser, "step_" + step)(argument)), flush=True)
    except Failed as failure:
        print("error: %s" % failure, file=sys.stderr)
        return 1
    finally:
        browser.end()
    return 0


sys.exit(main())
