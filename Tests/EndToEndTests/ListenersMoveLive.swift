import TestSupport
import Testing

@Test("the scrape side moves between 127.0.0.1 and 0.0.0.0 on one port, and no scrape fails meanwhile")
func listenersMoveOnOnePort() async throws {
    let port = try reservePort()
    try await withProxy(Configurations.scrape.replacing("127.0.0.1:0", with: "127.0.0.1:\(port)")) { proxy in
        // One new connection after another, each with one scrape, as long as `stop` is not there.
        let scraper = """
            import http.client, os, sys, time
            done = failed = 0
            while not os.path.exists("stop"):
                try:
                    connection = http.client.HTTPConnection("127.0.0.1", \(port), timeout=30)
                    connection.request("GET", "/metrics")
                    answer = connection.getresponse()
                    answer.read()
                    connection.close()
                    done += 1
                    if answer.status != 200: failed += 1
                except Exception as error:
                    failed += 1
                    print(repr(error), file=sys.stderr, flush=True)
                if done == 1: print("begun", flush=True)
                time.sleep(0.002)
            print(done, failed)
            """
        try await withProgram(Tools.python, ["-u", "-c", scraper], workingFolder: proxy.folder.path) { program in
            try await wait(for: "the first scrape") { !program.outputBytes.isEmpty }
            var old = try RawConnection(to: "127.0.0.1:\(port)")
            for address in ["0.0.0.0", "127.0.0.1", "[::]", "127.0.0.1", "0.0.0.0", "[::]", "0.0.0.0"] {
                #expect(try await old.get("/-/healthy").status == 200)
                try await proxy.save(Configurations.scrape.replacing("127.0.0.1:0", with: "\(address):\(port)"))
                #expect(proxy.log.contains("scrape listener \(address):\(port) opens"))
                try await wait(for: "the old listener's connection to end") { try old.isEnded }
                old = try RawConnection(to: "127.0.0.1:\(port)")
            }
            try proxy.folder.write("stop", "")
            let result = try await program.exit()
            #expect(result.output.split(separator: "\n").last?.hasSuffix(" 0") == true, "\(result.output)\(result.errors)")
            #expect(result.errors == "")
        }
    }
}

@Test("a listener that a reload closed finishes what is in flight")
func aClosedListenerDrains() async throws {
    // One event loop: when one connection has heard of the reload, the other has too.
    let scrape = Configurations.scrape.replacing("worker_threads = 0", with: "worker_threads = 1") + Configurations.patience
    try await withProxy(scrape + Configurations.receivers(format: "json", "idle_timeout = \"10m\"")) { proxy in
        let idle = try RawConnection(to: proxy.scrape)
        #expect(try await idle.get("/-/healthy").status == 200)
        let asking = try RawConnection(to: proxy.scrape)
        try asking.send("GET /-/healthy HTTP/1.1\r\nHost: localhost\r\n")
        let pushing = try RawConnection(to: proxy.unixSocket ?? "")
        try pushing.send(#"{"begun": "x 1"} {"cut": "#)
        try await wait(for: "the push to begin") { try await curl("http://\(proxy.scrape)/metrics?app=begun").status == 200 }
        // Another port for the scrape side, and no receiver at all.
        try await proxy.save(scrape.replacing("\"127.0.0.1:0\"", with: "[\"127.0.0.1:0\", \"[::1]:0\"]") + "[receiver]\n")
        #expect(!proxy.folder.contains("receiver.sock"))
        #expect(try await curl("http://\(proxy.scrape)/-/healthy").status == 200, "the same address with port 0 stays")
        try await proxy.save(scrape.replacing("127.0.0.1:0", with: "[::1]:0"))
        try await wait(for: "the idle connection to end") { try idle.isEnded }
        try asking.send("\r\n")
        let answer = try await asking.response()
        #expect(answer.status == 200)
        #expect(answer.head.lowercased().contains("connection: close"))
        try await wait(for: "it to end") { try asking.isEnded }
        try await wait(for: "the port to be closed") { try await runCurl(["http://\(proxy.scrape)/"]).status == .exited(7) }
        try pushing.send(#""x 2"}"#)
        #expect(try await pushing.receiveToEnd() == "")
    }
}
