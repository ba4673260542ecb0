"""Sends the same random requests to a Pushgateway and to exporter-proxy, and compares the answers and the series that they leave.

usage: pushgateway_twins.py SEED REQUESTS GATEWAY RECEIVER SCRAPE      (each address HOST:PORT)

What is known to differ (docs/pushgateway.md) is left out: metrics of one name in two groups, and what a refused first push leaves.
"""
import base64, http.client, random, re, struct, sys

seed, requests, gateway, receiver, scrape = int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:6]
rnd = random.Random(seed)

# Each group in several spellings.
GROUPS = [
    ["job/plain", "job@base64/" + base64.urlsafe_b64encode(b"plain").decode().rstrip("="), "job/plain/"],
    ["job/other/instance/host-1:80", "job/other/instance@base64/" + base64.urlsafe_b64encode(b"host-1:80").decode()],
    ["job/other/b/2/a/1", "job/other/a/1/b/2", "job/other/a/9/a/1/b/2"],
    ["job/slash/path@base64/" + base64.urlsafe_b64encode(b"/var/%41\n\xc3\xa4").decode()],
    ["job/empty/e@base64/=", "job/empty/e@base64/"],
]
# What the Pushgateway exposes as their labels, instance included.
GROUP_LABELS = [
    {"job": "plain"}, {"job": "other", "instance": "host-1:80"}, {"job": "other", "a": "1", "b": "2"},
    {"job": "slash", "path": "/var/%41\\n\u00e4"}, {"job": "empty", "e": ""},
]
GROUP_KEYS = [tuple(sorted({"instance": "", **own}.items())) for own in GROUP_LABELS]
# After a job that is not base64, the Pushgateway 1.5.1 answers no more.
BAD_PATHS = ["job/x/odd", "job/x/__reserved/1", "job/x/0bad/1", "job/x/l@base64/%24%24%24", "job/x/a-b/1"]
VALUES = ["0", "1", "-1", "3.5", "1e10", "-2.5e-7", "NaN", "+Inf", "-Inf", "1.7976931348623157e308", "0.1", "123456789012345678", "1E3", "+4"]
LABELS = ["a", "b", "job", "instance", "x_y", "le", "quantile"]
TEXTS = ["", "v", "w w", 'quo"te', "back\\slash", "line\nfeed", "\u00e4\u20ac", "{},="]


def escaped(text, quotes=True):
    text = text.replace("\\", "\\\\").replace("\n", "\\n")
    return text.replace('"', '\\"') if quotes else text


def labels(least=0):
    names = rnd.sample(LABELS, rnd.randint(least, 3))
    return [(name, rnd.choice(TEXTS)) for name in names if name not in ("le", "quantile") or rnd.random() < 0.1]


def family(group):
    """A random family, and its metrics as (labels, value): a number, or (points, sum, count)."""
    kind = rnd.choice(["counter", "gauge", "untyped", "summary", "histogram"])
    name = f"g{group}_" + rnd.choice(["one", "two", "two_count", "three", "four:x"])
    # Without a type it may be taken for the count of a histogram, which must not be negative.
    if name.endswith("_count"): kind = "gauge"
    metrics = []
    seen = set()
    for _ in range(rnd.randint(1, 3)):
        own = labels()
        if kind in ("summary", "histogram"): own = [label for label in own if label[0] not in ("le", "quantile")]
        # Twice the same is a case of its own; a bucket or a quantile that comes twice is refused by exporter-proxy alone.
        if tuple(sorted(own)) in seen and (kind in ("summary", "histogram") or rnd.random() < 0.9): continue
        seen.add(tuple(sorted(own)))
        if kind == "summary":
            metrics.append((own, ([("0.5", rnd.choice(VALUES)), ("0.9", rnd.choice(VALUES))][:rnd.randint(0, 2)], rnd.choice(VALUES), rnd.randint(0, 9))))
        elif kind == "histogram":
            bounds = [("0.25", 1), ("2.5", 3), ("16777216", 4), ("+Inf", 5)][:rnd.randint(1, 4)]
            metrics.append((own, (bounds, rnd.choice(VALUES), 5)))
        else:
            metrics.append((own, rnd.choice(VALUES)))
    return name, rnd.choice([None, "", "some help", "back\\slash\nline"]), kind, metrics


def text_of(families):
    blank = lambda: rnd.choice(["", "", " ", "\t"])
    lines = []
    for name, help, kind, metrics in families:
        if help is not None: lines.append(f"# HELP {name} {escaped(help, False)}")
        if kind != "untyped" or rnd.random() < 0.5: lines.append(f"#{blank()} TYPE {name} {kind}")
        if rnd.random() < 0.2: lines.append(rnd.choice(["# a comment", "#", "", "   "]))

        def sample(suffix, own, value):
            pairs = [f'{key}{blank()}={blank()}"{escaped(value)}"' for key, value in own]
            braces = "{" + (blank() + ",").join(pairs) + rnd.choice(["", ","] if pairs else [""]) + "}" if pairs or rnd.random() < 0.2 else ""
            lines.append(f"{blank()}{name}{suffix}{blank() if braces else ''}{braces}{blank() or ' '}{value}")

        for own, value in metrics:
            if kind == "summary":
                for at, number in value[0]: sample("", own + [("quantile", at)], number)
            elif kind == "histogram":
                for at, number in value[0]: sample("_bucket", own + [("le", at)], number)
            if kind in ("summary", "histogram"):
                sample("_sum", own, value[1])
                sample("_count", own, value[2])
            else:
                sample("", own, value)
    return "\n".join(lines) + "\n"


def varint(number):
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def field(number, payload): return varint(number << 3 | 2) + varint(len(payload)) + payload
def double(number, value): return varint(number << 3 | 1) + struct.pack("<d", float(value.replace("Inf", "inf")) if isinstance(value, str) else value)
def integer(number, value): return varint(number << 3) + varint(value)


def protobuf_of(families, timestamp):
    kinds = {"counter": 0, "gauge": 1, "summary": 2, "untyped": 3, "histogram": 4}
    out = b""
    for name, help, kind, metrics in families:
        message = field(1, name.encode()) + (field(2, help.encode()) if help is not None else b"") + integer(3, kinds[kind])
        for own, value in metrics:
            metric = b"".join(field(1, field(1, key.encode()) + field(2, text.encode())) for key, text in own)
            if kind == "summary":
                points = b"".join(field(3, double(1, at) + double(2, number)) for at, number in value[0])
                metric += field(4, integer(1, value[2]) + double(2, value[1]) + points)
            elif kind == "histogram":
                points = b"".join(field(3, integer(1, number) + double(2, at)) for at, number in value[0])
                metric += field(7, integer(1, value[2]) + double(2, value[1]) + points)
            else:
                # A value that is not of the family's kind, now and then.
                place = {"gauge": 2, "counter": 3, "untyped": 5}[kind if rnd.random() < 0.97 else "gauge"]
                metric += field(place, double(1, value))
            if timestamp: metric += integer(6, 1600000000000)
            message += field(4, metric)
        out += varint(len(message)) + message
    return out


def body(group):
    families = [family(group) for _ in range(rnd.randint(0, 4))]
    # A family that comes twice is an error of the text format, and the last one counts in protobuf.
    if rnd.random() < 0.9: families = list({name: (name, *rest) for name, *rest in families}.values())
    timestamp = rnd.random() < 0.05
    # The Pushgateway never answers an empty body of protobuf.
    if rnd.random() < 0.4 and families:
        data = protobuf_of(families, timestamp)
        # Cut short within a message; one that is cut right behind its length is none for the Pushgateway.
        if rnd.random() < 0.05: data += b"\x05\n"
        return data, "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
    data = text_of(families)
    if timestamp: data = data.rstrip("\n") + " 1600000000000\n" if data.strip() else data
    if rnd.random() < 0.08:
        data += rnd.choice(["bad line here\n", "x{ 1\n", 'x{a="\\q"} 1\n', "x 1 2 3\n", "# TYPE x what\n", "0x 1\n", 'x{a="1",a="2"} 1\n', "x 0x1p3\n", "x 1_0\n"])
    return data.encode(), rnd.choice(["text/plain; version=0.0.4", "", "application/x-www-form-urlencoded"])


def send(address, method, path, data, kind):
    connection = http.client.HTTPConnection(address, timeout=30)
    connection.request(method, path, data, {"Content-Type": kind} if kind else {})
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    return answer.status, text.decode(errors="replace")


SAMPLE = re.compile(r'([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$')
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)",?')


def number(text):
    return "NaN" if text == "NaN" else float(text.replace("Inf", "inf"))


def series(address, path="/metrics"):
    """Every series with the label job, and the types of their families."""
    found, types = {}, {}
    for line in send(address, "GET", path, None, None)[1].split("\n"):
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            types[name] = kind
        match = None if line.startswith("#") else SAMPLE.match(line)
        if not match: continue
        own = LABEL.findall(match[2] or "")
        if "job" not in dict(own): continue
        key = (match[1], tuple(sorted(own)))
        assert key not in found, f"twice: {key} at {address}"
        found[key] = number(match[3])
    return found, {name: kind for name, kind in types.items() if re.match("g[0-9]", name)}


def compare(step):
    theirs, their_types = series(gateway)
    ours, our_types = series(receiver if scrape == "-" else scrape)
    # Groups that came of a refused first push alone.
    void = {labels for (name, labels), value in theirs.items() if name == "push_time_seconds" and value == 0}
    for labels in void:
        for name in ("push_time_seconds", "push_failure_time_seconds"): theirs.pop((name, labels), None)
    differences = [f"only the Pushgateway has {key} {theirs[key]}" for key in theirs.keys() - ours.keys()]
    differences += [f"only exporter-proxy has {key} {ours[key]}" for key in ours.keys() - theirs.keys()]
    for key in theirs.keys() & ours.keys():
        a, b = theirs[key], ours[key]
        if key[0] in ("push_time_seconds", "push_failure_time_seconds"):
            # The same request, a moment apart.
            if key[0] == "push_failure_time_seconds" and b == 0 and key[1] in refused_first: continue
            if (a == 0) != (b == 0) or abs(a - b) > 30: differences.append(f"{key}: {a} and {b}")
        elif a != b:
            differences.append(f"{key}: {a} and {b}")
    if their_types != our_types: differences.append(f"types: {their_types} and {our_types}")
    if differences:
        print(f"seed {seed}, after request {step}:", *differences[:10], sep="\n")
        print("the last request:", last, sep="\n")
        sys.exit(1)


last = None
statuses = {}
# Groups that are there, and those whose first push was refused: exporter-proxy does not keep the time of that.
existing, refused_first = set(), set()
for spellings in GROUPS:
    for address in (gateway, receiver): send(address, "DELETE", "/metrics/" + spellings[0], None, None)
for step in range(requests):
    method = rnd.choices(["PUT", "POST", "DELETE"], [3, 6, 1])[0]
    group = rnd.randrange(len(GROUPS))
    is_bad = rnd.random() < 0.03
    path = "/metrics/" + rnd.choice(BAD_PATHS if is_bad else GROUPS[group])
    data, kind = body(group)
    if method == "DELETE": data, kind = None, None
    last = (method, path, kind, data)
    answers = [send(address, method, path, data, kind) for address in (gateway, receiver)]
    if answers[0][0] != answers[1][0]:
        print(f"seed {seed}, request {step}: {last}\nthe Pushgateway: {answers[0]}\nexporter-proxy: {answers[1]}")
        sys.exit(1)
    key = GROUP_KEYS[group]
    if not is_bad:
        if method == "DELETE":
            existing.discard(key)
            refused_first.discard(key)
        elif answers[0][0] == 200:
            existing.add(key)
        elif key in existing:
            # Whether the body could be read decides; both have the same time then.
            pass
        else:
            refused_first.add(key)
    statuses[answers[0][0]] = statuses.get(answers[0][0], 0) + 1
    if step % 10 == 9: compare(step)
compare(requests)
print("same", *(f"{status}:{count}" for status, count in sorted(statuses.items())))
