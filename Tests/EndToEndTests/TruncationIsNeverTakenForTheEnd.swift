import Foundation
import TestSupport
import Testing

@Test("a poll whose end is not marked by close_notify fails, unless its length says that all is there")
func aCutPollIsNoMetrics() async throws {
    try await withTemporaryFolder { folder in
        try await ProxyProcess.makeCertificates(in: folder)
        let script = "\(checkout)/Tests/EndToEndTests/Support/truncating_targets.py"
        try await withProgram(Tools.python, [script, folder.path("certs")]) { targets in
            let port = try await wait(for: "the targets' port") {
                let output = String(decoding: targets.outputBytes, as: UTF8.self)
                return output.hasSuffix("\n") ? output.split(whereSeparator: \.isWhitespace).last.map(String.init) : nil
            }
            let paths = ["until-close/close_notify", "until-close/cut", "length/cut", "chunked/cut", "nothing/cut"]
            let urls = paths.map { "\"https://localhost:\(port)/\($0)\"" }.joined(separator: ", ")
            let config =
                Configurations.scrape + Configurations.polledOnce + """
                    other_scrape_endpoints = [\(urls)]
                    [poll_external.tls_config]
                    ca_file = "\(folder.path("certs/ca.pem"))"

                    """
            try await withProxy(config) { proxy in
                try await waitUntilReady(proxy)
                func metrics(_ path: String) async throws -> (status: Int, body: String) {
                    let answer = try await curl("http://\(proxy.scrape)/metrics?app=external_poll:%20localhost:\(port)/\(path)")
                    return (answer.status, answer.body)
                }
                for path in ["until-close/close_notify", "length/cut"] {
                    let answer = try await metrics(path)
                    #expect(answer.status == 200 && answer.body == "b 1\nc 2\n", "\(path): \(answer)\(proxy.log)")
                }
                for path in ["until-close/cut", "chunked/cut", "nothing/cut"] {
                    let answer = try await metrics(path)
                    #expect(answer.status == 503, "\(path): \(answer)")
                }
                let apps = try await curl("http://\(proxy.scrape)/apps?format=json").body
                #expect(apps.contains("without close_notify"), "\(apps)")
                #expect(apps.contains("connection closed by the target while waiting for the response head"), "\(apps)")
            }
        }
    }
}

@Test("a push cut short is refused, with or without close_notify; what was whole before stays")
func aCutPushIsNoMessage() async throws {
    let tls = "tls = \"required\"\n[receiver.tls_server_config]\ncert_file = \"certs/server.pem\"\nkey_file = \"certs/server-key.pem\""
    let receiver = "[receiver]\nreceive_on_tcp_socket = true\nreceiver_tcp_socket = \"127.0.0.1:0\"\n\(tls)\n"
    try await withProxy(Configurations.scrape + receiver, certificates: true) { proxy in
        let script = """
            import socket, ssl, sys
            context = ssl.create_default_context(cafile=sys.argv[2])
            for end in ("close_notify", "cut"):
                for text, name in (('{"whole-%s": "a 1"}', "whole"), ('{"first-%s": "a 1"}{"cut-%s": "b 1"', "cut")):
                    tls = context.wrap_socket(socket.create_connection(("127.0.0.1", int(sys.argv[1]))), server_hostname="localhost")
                    tls.sendall(text.replace("%s", end).encode())
                    if end == "close_notify":
                        try:
                            tls.unwrap()
                        except (OSError, ssl.SSLError):
                            pass
                        tls.close()
                    else:
                        raw = socket.socket(fileno=tls.detach())
                        raw.shutdown(socket.SHUT_WR)
                        while raw.recv(4096):
                            pass
                        raw.close()
            """
        let result = try await run(Tools.python, ["-c", script, proxy.tcpPort, proxy.caFile])
        #expect(result.succeeded, "\(result.errors)")
        let refusals = { proxy.log.split(separator: "\n").filter { $0.contains("message refused") && $0.contains("reason=truncated") } }
        try await wait(for: "two refusals in the log") { refusals().count == 2 }
        let apps = try await curl("http://\(proxy.scrape)/apps").body
        for name in ["whole-close_notify", "whole-cut", "first-close_notify", "first-cut"] {
            #expect(apps.contains("| \(name) "), "\(apps)")
        }
        for name in ["| cut-close_notify", "| cut-cut"] { #expect(!apps.contains(name), "\(apps)") }
    }
}
