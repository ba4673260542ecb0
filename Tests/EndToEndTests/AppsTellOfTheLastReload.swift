import TestSupport
import Testing

@Suite struct AppsTellOfTheLastReload {
    @Test("a failed reload is shown with its error, until one succeeds; what listens is shown as it is")
    func reload() async throws {
        let good = Configurations.scrape(tls: "optional") + Configurations.receivers()
        try await withProxy(good, certificates: true) { proxy in
            let page = "http://\(proxy.scrape)/apps?format=html"
            let json = "http://\(proxy.scrape)/apps?format=json"
            #expect(try await curl(json).body.contains("\"reload\": null"))
            try proxy.folder.write("config.toml", good + "nonsense = \"<b>\"\n")
            try await wait(for: "the failure") { try await curl(json).body.contains("unknown key receiver.nonsense") }
            let failed = try await curl(page).body
            #expect(failed.contains("<p>The last reload failed <time") && failed.contains("unknown key receiver.nonsense"))

            try proxy.folder.write("config.toml", good.replacing("format = \"json\"", with: "format = \"capnp\""))
            try await wait(for: "the success") { try await curl(json).body.contains("\"error\": null}, \"ready\"") }
            let reloaded = try await curl(page).body
            #expect(reloaded.contains("<div id=\"alerts\"></div>") && reloaded.contains("<b>reloaded <time"))
            let listeners = try await curl(json).body
            #expect(
                listeners.contains(
                    "{\"name\": \"\(proxy.scrape)\", \"kind\": \"scrape\", \"format\": null, \"tls\": \"optional\", \"open_connections\": 1, \"certificate_end\": \"2"
                ))
            #expect(
                listeners.contains(
                    "\"kind\": \"tcp\", \"format\": \"capnp\", \"tls\": \"off\", \"open_connections\": 0, \"certificate_end\": null}"))
            #expect(listeners.contains("\"kind\": \"unix\", \"format\": \"capnp\""))
        }
    }
}
