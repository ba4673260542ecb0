import Foundation
import TestSupport
import Testing

@Test(
    "a start that cannot work exits 1 and names file, line, column and key",
    arguments: [
        // Config, what the message begins with, what else it says.
        ("[exporter]\nworker_thread = 1\n", "config.toml:2:1: error: ", ["worker_thread", "worker_threads"]),
        ("[exporter]\nworker_threads = \"two\"\n", "config.toml:2:18: error: ", ["worker_threads"]),
        ("[exporter]\nscrape_expose_endpoint = \"localhost\"\n", "config.toml:2:26: error: ", ["scrape_expose_endpoint"]),
        ("[receiver]\nformat = \"xml\"\n", "config.toml:2:10: error: ", ["format", "json", "capnp"]),
        ("[reciever]\n", "config.toml:1:2: error: ", ["reciever", "receiver"]),
        ("[exporter\n", "config.toml:", ["error: "]),
        ("[exporter]\ntls = \"required\"\n", "config.toml:2:7: error: ", ["tls", "tls_server_config"]),
        (
            "[exporter]\nscrape_expose_endpoint = \"127.0.0.1:0\"\n[exporter.tls_server_config]\ncert_file = \"missing.pem\"\nkey_file = \"missing-key.pem\"\n",
            "config.toml:4:13: error: ", ["cert_file", "missing.pem", "no such file or directory"]
        ),
        (
            "[exporter]\nscrape_expose_endpoint = \"127.0.0.1:0\"\n[receiver]\nreceive_on_unix_socket = true\nreceiver_unix_socket = \"r.sock\"\nunix_socket_user = \"no-such-user\"\n",
            "config.toml:6:20: error: ", ["unix_socket_user", "no-such-user"]
        ),
        (
            "[exporter]\nscrape_expose_endpoint = \"127.0.0.1:0\"\n[receiver]\nreceive_on_unix_socket = true\nreceiver_unix_socket = \"no/such/folder/r.sock\"\n",
            "config.toml:5:24: error: ", ["receiver_unix_socket"]
        ),
        ("[poll_external]\nother_scrape_endpoints = [\"ftp://host/\"]\n", "config.toml:2:27: error: ", ["other_scrape_endpoints", "ftp"]),
    ])
func aStartThatCannotWorkSaysWhy(config: String, beginning: String, words: [String]) async throws {
    let result = try await runProxy(config)
    #expect(result.status == .exited(1), "\(result.errors)")
    let line = result.errors.split(separator: "\n").first { $0.hasPrefix(beginning) }
    #expect(line != nil, "\(result.errors)")
    for word in words { #expect(line?.contains(word) == true, "\(word): \(result.errors)") }
}

@Test("all problems are told at once, in the order of the file")
func allProblemsAreToldAtOnce() async throws {
    let result = try await runProxy("[exporter]\nfoo = 1\nconcurrent_requests = 0\n[receiver]\nformat = 3\n")
    #expect(result.status == .exited(1))
    let places = result.errors.split(separator: "\n").filter { $0.contains(": error: ") }.map { $0.split(separator: " ")[0] }
    #expect(places == ["config.toml:2:1:", "config.toml:3:23:", "config.toml:5:10:"], "\(result.errors)")
}

@Test("a busy port is named by its key", arguments: ["exporter.scrape_expose_endpoint", "receiver.receiver_tcp_socket"])
func aBusyPortIsNamed(key: String) async throws {
    try await withProxy(Configurations.scrape) { proxy in
        let scrape = key.hasPrefix("exporter") ? proxy.scrape : "127.0.0.1:0"
        let tcp = key.hasPrefix("receiver") ? proxy.scrape : "127.0.0.1:0"
        let result = try await runProxy(
            "[exporter]\nscrape_expose_endpoint = \"\(scrape)\"\n[receiver]\nreceive_on_tcp_socket = true\nreceiver_tcp_socket = \"\(tcp)\"\n"
        )
        #expect(result.status == .exited(1))
        let place = key.hasPrefix("exporter") ? "config.toml:2:26: error: " : "config.toml:5:23: error: "
        let line = result.errors.split(separator: "\n").first { $0.hasPrefix(place) } ?? ""
        #expect(line.contains(key.split(separator: ".")[1]) && line.contains(proxy.scrape) && line.contains("in use"), "\(result.errors)")
    }
}

@Test("a key that does not match its certificate is named")
func aForeignKeyIsNamed() async throws {
    let config = Configurations.scrape(tls: "required").replacing("server-key.pem", with: "client-key.pem")
    let result = try await runProxy(config, certificates: true)
    #expect(result.status == .exited(1))
    #expect(result.errors.contains("config.toml:") && result.errors.contains("key"), "\(result.errors)")
}

@Test("a key that may not be read is named", .enabled("the program can run without root's rights") { await Unprivileged.canRunTheProxy() })
func anUnreadableKeyIsNamed() async throws {
    try await withTemporaryFolder { folder in
        try await ProxyProcess.makeCertificates(in: folder)
        try folder.write("config.toml", Configurations.scrape(tls: "required"))
        // Everything but the key may be read by anyone.
        #expect(chmod(folder.path, 0o755) == 0 && chmod(folder.path("certs"), 0o755) == 0)
        #expect(chmod(folder.path("certs/server-key.pem"), 0) == 0)
        let result = try await Unprivileged.runProxy(["--config", "config.toml"], workingFolder: folder.path)
        #expect(result.status == .exited(1))
        #expect(result.errors.hasPrefix("config.toml:7:12: error: "), "\(result.errors)")
        #expect(result.errors.contains("key_file") && result.errors.contains("permission denied"), "\(result.errors)")
    }
}
