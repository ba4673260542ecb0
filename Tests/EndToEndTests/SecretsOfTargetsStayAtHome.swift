import Foundation
import TestSupport
import Testing

private struct Seen: Decodable {
    let server: String
    let path: String
    let certificate: Bool
    let secrets: [String: String]
}

@Test("credentials, headers and the client certificate of a target never follow a redirect elsewhere, and no secret is ever shown")
func secretsOfTargetsStayAtHome() async throws {
    try await withTemporaryFolder { folder in
        try folder.write("password", "file-s3cret\n")
        try await withRedirectingTargets(in: folder) { targets in
            let config = configuration(home: targets.home, folder: folder)
            let settings = ["--log-level", "trace"]
            try await withProxy(config, arguments: settings) { proxy in
                try await waitUntilReady(proxy)
                try expectNothingLeft(requests(targets.output()))
                try await expectNothingShown(proxy)
                let check = try await run(ProxyProcess.executable, ["check", "--config", proxy.folder.path("config.toml")])
                #expect(!(check.output + check.errors).contains("s3cret"), "\(check.output)\(check.errors)")
            }
        }
    }
}

private let followed = ["/port", "/downgrade", "/userinfo"]
private let userPasswords = ["scraper:literal-s3cret", "scraper:file-s3cret", "scraper:url-s3cret"]

/// Each way to have credentials, with each way to lead away.
private func configuration(home: String, folder: TemporaryFolder) -> String {
    let tls = """
        tls_config = { ca_file = "\(folder.path("certs/ca.pem"))", cert_file = "\(folder.path("certs/client.pem"))", \
        key_file = "\(folder.path("certs/client-key.pem"))" }
        """
    func target(_ path: String, _ credentials: String, userInfo: String = "") -> String {
        """
        [[poll_external.targets]]
        url = "https://\(userInfo)localhost:\(home)\(path)"
        headers = { X-Api-Key = "header-s3cret", Cookie = "session=cookie-s3cret" }
        \(credentials)
        \(tls)

        """
    }
    let basic = "basic_auth = { username = \"scraper\", password = \"literal-s3cret\" }"
    return Configurations.scrape + Configurations.polledOnce + target("/port", basic)
        + target("/host", "authorization = { credentials = \"token-s3cret\" }")
        + target("/downgrade", "basic_auth = { username = \"scraper\", password_file = \"\(folder.path("password"))\" }")
        + target("/userinfo", "", userInfo: "scraper:url-s3cret@")
        + target("/back", "authorization = { credentials = \"token-s3cret\" }")
        + target("/scheme", basic) + target("/nonsense", basic)
}

private func requests(_ output: String) throws -> [Seen] {
    try output.split(separator: "\n").dropFirst().map { try JSONDecoder().decode(Seen.self, from: Data($0.utf8)) }
}

private func expectNothingLeft(_ seen: [Seen]) throws {
    // At home each has what it was given.
    let first = seen.filter { $0.server == "home" && !["/host-again", "/came-back"].contains($0.path) }
    #expect(Set(first.map(\.path)).count == 7)
    for request in first {
        #expect(request.certificate, "\(request)")
        #expect(Set(request.secrets.keys) == ["authorization", "x-api-key", "cookie"], "\(request)")
    }
    // Elsewhere, be it another port or another scheme, and on the way back, there is nothing.
    let others = seen.filter { $0.server != "home" || ["/host-again", "/came-back"].contains($0.path) }
    for path in followed + ["/back"] { #expect(others.contains { $0.path == path }, "\(path) was not followed") }
    for request in others {
        #expect(!request.certificate, "\(request)")
        #expect(request.secrets.isEmpty, "\(request)")
    }
}

private func expectNothingShown(_ proxy: ProxyProcess) async throws {
    var shown = [proxy.log]
    for path in ["/metrics", "/apps", "/apps?format=json", "/sd", "/"] {
        shown.append(try await curl("http://\(proxy.scrape)\(path)").body)
    }
    shown.append(try await curl("http://\(proxy.scrape)/apps", ["--header", "Accept: text/html"]).body)
    #expect(shown[1].contains("away 1\n"), "\(shown[1])")
    #expect(shown[2].contains("/nonsense") && shown[2].contains("failing"), "\(shown[2])")
    let secrets = ["s3cret"] + userPasswords.map { Data($0.utf8).base64EncodedString() }
    for text in shown {
        for secret in secrets { #expect(!text.contains(secret), "\(text)") }
    }
}
