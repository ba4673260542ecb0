import TestSupport
import Testing

@Test("an object is applied as soon as it is complete, while the connection stays open for the next")
func aPushIsAppliedBeforeTheConnectionEnds() async throws {
    try await withProxy(Configurations.scrape + Configurations.receivers()) { proxy in
        let script = """
            printf '{"early": "early 1"}'
            while [ ! -e go ]; do sleep 0.05; done
            printf ' {"early": "early 2"} {"late": "la'
            while [ ! -e on ]; do sleep 0.05; done
            printf 'te 1"}'
            """
        try await withProgram(
            "sh", ["-c", "(\(script)) | \(Tools.netcat) -N -U \(proxy.unixSocket ?? "")"], workingFolder: proxy.folder.path
        ) { sender in
            try await metrics(of: proxy, begin: "early 1\n")
            try proxy.folder.write("go", "")
            try await metrics(of: proxy, begin: "early 2\n")
            #expect(try await curl("http://\(proxy.scrape)/metrics?app=late").status == 404)
            try proxy.folder.write("on", "")
            try await metrics(of: proxy, begin: "early 2\nlate 1\n")
            #expect(try await sender.exit().output == "")
        }
    }
}

private func metrics(of proxy: ProxyProcess, begin beginning: String) async throws {
    try await wait(for: "/metrics to begin with \(beginning)") {
        try await curl("http://\(proxy.scrape)/metrics").body.hasPrefix(beginning)
    }
}
