import Foundation
import TestSupport
import Testing

private let config =
    Configurations.scrape(
        tls: "required",
        """
        client_auth_type = "RequireAndVerifyClientCert"
        client_ca_file = "clients.pem"
        """)

/// A server and one client, with authorities of their own.
private struct Parties {
    let authority: ThrowawayCA
    let client: ThrowawayCertificate

    init() throws {
        authority = try ThrowawayCA()
        client = try authority.clientCertificate(names: ["prometheus.example"])
    }

    func write(to folder: TemporaryFolder) throws {
        try folder.write("clients.pem", authority.certificatePEM)
        try folder.write("client.pem", client.chainPEM + client.privateKeyPEM)
    }
}

@Test(
    "a change of whom the listener lets in ends the connections made before",
    arguments: [
        // What is changed, and whether the client of before may come again.
        ("another authority", "clients.pem", false), ("an authority more", "clients.pem", true), ("revocation", "revoked.pem", false),
        ("SANs", "config.toml", false), ("authentication", "config.toml", true),
    ])
func tightenedAccess(what: String, file: String, isStillAdmitted: Bool) async throws {
    let parties = try Parties()
    let text = what == "revocation" ? config + "client_crl_file = \"revoked.pem\"\n" : config
    let prepare: (TemporaryFolder) async throws -> Void = { folder in
        try parties.write(to: folder)
        try folder.write("revoked.pem", parties.authority.revocationList())
    }
    try await withProxy(text, certificates: true, prepare: prepare) { proxy in
        let url = "https://localhost:\(proxy.scrapePort)/-/healthy"
        let options = ["--cacert", proxy.caFile, "--cert", proxy.folder.path("client.pem")]
        #expect(try await curl(url, options).status == 200)
        try await HeldTLSConnection.with(proxy, certificate: proxy.folder.path("client.pem")) { held in
            #expect(try await held.ask() == "exporter-proxy is healthy")
            // A change that is not about access ends no connection.
            try await proxy.reloading { try proxy.replaceFile("config.toml", "\(text)# a comment\n[receiver]\nmax_apps = 7\n") }
            try await wait(for: "the log") { proxy.log.contains("receiver.max_apps: 100000 -> 7") }
            #expect(try await held.ask() == "exporter-proxy is healthy")
            try await proxy.reloading {
                switch what {
                case "another authority": try proxy.replaceFile(file, ThrowawayCA(name: "Another").certificatePEM)
                case "an authority more":
                    try proxy.replaceFile(file, ThrowawayCA(name: "Another").certificatePEM + parties.authority.certificatePEM)
                case "revocation": try proxy.replaceFile(file, parties.authority.revocationList(revoking: [parties.client]))
                case "SANs": try proxy.replaceFile(file, text + "client_allowed_sans = [\"other.example\"]\n")
                default: try proxy.replaceFile(file, text.replacing("RequireAndVerifyClientCert", with: "VerifyClientCertIfGiven"))
                }
            }
            // A request that was on its way during the reload is still answered.
            try await wait(for: "the end of the connection") { try await held.ask().hasPrefix("failed ") }
            let answer = try await runCurl(options + [url])
            #expect(answer.succeeded == isStillAdmitted, "\(answer.errors)")
        }
    }
}
