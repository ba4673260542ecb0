import TestSupport
import Testing

@Test("two requests travel on one connection, in plain HTTP and in TLS")
func curlKeepsItsConnection() async throws {
    try await withProxy(Configurations.scrape(tls: "optional"), certificates: true) { proxy in
        for base in ["http://127.0.0.1:\(proxy.scrapePort)", "https://127.0.0.1:\(proxy.scrapePort)"] {
            let urls = ["\(base)/metrics", "\(base)/nothing", "\(base)/apps"]
            let result = try await runCurl(
                [
                    "--cacert", proxy.caFile, "--output", "/dev/null", "--output", "/dev/null", "--output", "/dev/null", "--write-out",
                    "%{http_code} %{num_connects}\n",
                ] + urls)
            // The second and third open no connection, not even after a 404.
            #expect(result.output == "200 1\n404 0\n200 0\n", "\(base)")
        }
    }
}
