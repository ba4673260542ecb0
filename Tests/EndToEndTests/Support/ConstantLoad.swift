import TestSupport

/// Clients that scrape and push all the time, strict about every answer, until told to stop.
struct ConstantLoad {
    private let program: RunningProgram
    private let folder: TemporaryFolder

    /// What the clients did.
    struct Figures {
        var scrapes = 0
        var pushes = 0
        /// One line for each that failed.
        var failures: [String] = []
    }

    /// - Parameters:
    ///   - steady: `HOST:PORT` of a scrape listener that never moves; one connection to it is kept for ever.
    ///   - moving: `HOST:PORT` where a scrape listener is always there, if not always the same; each scrape has its own connection.
    ///   - expected: what each answer of `/metrics` must hold.
    ///   - pause: seconds between two exchanges of one client.
    static func with<Result>(
        steady: String, moving: String, tcp: String, unix: String, expecting expected: String, pause: Double,
        _ body: (ConstantLoad) async throws -> Result
    ) async throws -> Result {
        let script = """
            import http.client, json, os, socket, sys, threading, time
            counts = {"scrape": 0, "push": 0}
            lock = threading.Lock()
            running = lambda: not os.path.exists("stop")

            def done(what, error=None):
                time.sleep(\(pause))
                with lock:
                    if error is None: counts[what] += 1
                    else: print(what, error, file=sys.stderr, flush=True)

            def scrape(connection, path="/metrics", needs=b"\(expected)"):
                connection.request("GET", path)
                answer = connection.getresponse()
                body = answer.read()
                if answer.status != 200 or needs not in body: raise Exception(f"{answer.status}, {len(body)} bytes")

            def connect(address):
                host, port = address.rsplit(":", 1)
                return http.client.HTTPConnection(host, int(port), timeout=30)

            def kept():
                connection = connect("\(steady)")
                connection.connect()
                connection.auto_open = False
                while running():
                    try: scrape(connection); done("scrape")
                    except Exception as error:
                        done("scrape", f"kept: {error!r}")
                        return

            def fresh():
                while running():
                    try:
                        connection = connect("\(moving)")
                        scrape(connection)
                        connection.close()
                        done("scrape")
                    except Exception as error: done("scrape", f"fresh: {error!r}")

            def push(app, make):
                check = connect("\(steady)")
                number = 0
                while running():
                    number += 1
                    try:
                        with make() as sender:
                            sender.settimeout(30)
                            sender.sendall(json.dumps({app: f"{app} {number}"}).encode())
                            sender.shutdown(socket.SHUT_WR)
                            answer = b"".join(iter(lambda: sender.recv(4096), b""))
                        if answer: raise Exception(answer)
                        scrape(check, f"/metrics?app={app}", f"{app} {number}\\n".encode())
                        done("push")
                    except Exception as error: done("push", f"{app} {number}: {error!r}")

            def unix():
                sender = socket.socket(socket.AF_UNIX)
                sender.connect("\(unix)")
                return sender

            host, port = "\(tcp)".rsplit(":", 1)
            threads = [threading.Thread(target=kept), threading.Thread(target=fresh), threading.Thread(target=fresh),
                threading.Thread(target=push, args=("by_tcp", lambda: socket.create_connection((host, int(port)), 30))),
                threading.Thread(target=push, args=("by_unix", unix))]
            for thread in threads: thread.start()
            for thread in threads: thread.join()
            print(counts["scrape"], counts["push"], flush=True)
            """
        return try await withTemporaryFolder { folder in
            try await withProgram(Tools.python, ["-u", "-c", script], workingFolder: folder.path) { program in
                try await body(ConstantLoad(program: program, folder: folder))
            }
        }
    }

    /// Ends the clients and says what they did.
    func stop() async throws -> Figures {
        try folder.write("stop", "")
        let result = try await program.exit()
        let counts = result.output.split(whereSeparator: \.isWhitespace).compactMap { Int($0) }
        let failures = result.errors.split(separator: "\n").map(String.init)
        guard counts.count == 2 else { throw CurlFailed(description: "the clients failed: \(result.errors)") }
        return Figures(scrapes: counts[0], pushes: counts[1], failures: failures)
    }
}
