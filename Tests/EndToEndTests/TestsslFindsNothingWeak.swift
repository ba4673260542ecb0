import Foundation
import TestSupport
import Testing

private struct Finding: Decodable {
    let id: String
    let severity: String
    let finding: String
}

/// What `docs/security.md` gives reasons for.
private let accepted = ["cert_revocation", "HSTS", "FS_KEMs"]

@Test("testssl.sh finds nothing weak in protocols, suites, certificate, headers and known attacks, but for what docs/security.md lists")
func testsslFindsNothingWeak() async throws {
    let findings = try await withProxy(Configurations.scrape(tls: "required"), certificates: true) { proxy in
        let findings = try await testssl(proxy)
        #expect(proxy.program.exitStatus == nil)
        return findings
    }
    func severity(of id: String) -> String? { findings.first { $0.id == id }?.severity }
    func text(of id: String) -> String? { findings.first { $0.id == id }?.finding }

    // That it has looked at all.
    let good = ["TLS1_2", "TLS1_3", "SSLv3", "secure_client_renego", "CRIME_TLS", "heartbleed", "ticketbleed", "cert_trust"]
    for id in good { #expect(severity(of: id) == "OK", "\(id)") }
    for id in ["TLS1", "TLS1_1"] { #expect(text(of: id)?.hasPrefix("not offered") == true, "\(id)") }

    let levels: Set = ["LOW", "MEDIUM", "HIGH", "CRITICAL"]
    for finding in findings where levels.contains(finding.severity) {
        #expect(accepted.contains(finding.id), "\(finding.severity) \(finding.id): \(finding.finding)")
    }
    let document = try String(contentsOfFile: "\(checkout)/docs/security.md", encoding: .utf8)
    for id in accepted { #expect(document.contains("`\(id)`"), "docs/security.md does not tell of \(id)") }
    // Newer versions than Debian 12's give a grade.
    if let grade = text(of: "overall_grade") { #expect(grade.hasPrefix("A")) }
}

private func testssl(_ proxy: ProxyProcess) async throws -> [Finding] {
    let file = proxy.folder.path("findings.json")
    var arguments = ["--protocols", "--std", "--pfs", "--server-preference", "--server-defaults", "--headers", "--vulnerable"]
    arguments += ["--quiet", "--warnings", "off", "--color", "0", "--nodns", "none", "--ip", "127.0.0.1"]
    arguments += ["--add-ca", proxy.caFile, "--jsonfile", file, "https://localhost:\(proxy.scrapePort)"]
    let result = try await run(Tools.testssl, arguments, within: .seconds(400))
    guard let data = FileManager.default.contents(atPath: file) else {
        Issue.record("testssl.sh has written nothing: \(result.output)\(result.errors)")
        return []
    }
    return try JSONDecoder().decode([Finding].self, from: data)
}
