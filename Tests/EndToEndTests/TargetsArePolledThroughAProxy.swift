import Foundation
import TestSupport
import Testing

@Test("targets are polled through proxy_url: HTTP in absolute form, HTTPS in a tunnel, a Unix socket and \"\" directly")
func targetsArePolledThroughAProxy() async throws {
    try await withTemporaryFolder { pages in
        for name in ["plain", "secure", "direct"] { try pages.write(name, "\(name) 1\n") }
        try await ProxyProcess.makeCertificates(in: pages)
        try await withPageServer(folder: pages.path) { plain in
            try await withSecurePageServer(folder: pages.path, certificates: pages.path("certs")) { secure in
                try await withForwardProxy { forward in
                    let config =
                        Configurations.scrape + Configurations.polledOnce + """
                            proxy_url = "http://proxy%40user:p%3Aw@127.0.0.1:\(forward.port)"
                            other_scrape_endpoints = ["http://127.0.0.1:\(plain.port)/plain", "https://localhost:\(secure.port)/secure"]
                            [poll_external.tls_config]
                            ca_file = "\(pages.path("certs/ca.pem"))"
                            [[poll_external.targets]]
                            url = "http://127.0.0.1:\(plain.port)/direct"
                            proxy_url = ""
                            """
                    try await withProxy(config) { proxy in
                        try await waitUntilReady(proxy)
                        let metrics = try await curl("http://\(proxy.scrape)/metrics").body
                        for name in ["plain", "secure", "direct"] { #expect(metrics.contains("\(name) 1\n"), "\(metrics)\(proxy.log)") }
                        #expect(!proxy.log.contains("p:w") && !proxy.log.contains("p%3Aw"), "\(proxy.log)")
                    }
                    // "proxy@user:p:w" in base64; the tunnel's inside is not seen.
                    let credentials = "Basic cHJveHlAdXNlcjpwOnc="
                    #expect(
                        Set(forward.requests())
                            == [
                                "GET http://127.0.0.1:\(plain.port)/plain \(credentials)",
                                "CONNECT localhost:\(secure.port) \(credentials)",
                            ])
                }
            }
        }
    }
}

@Test("a proxy that refuses, or is not there, is a failed poll that names it")
func aProxyThatRefusesIsNamed() async throws {
    let port = try reservePort()
    try await withForwardProxy { forward in
        let config =
            Configurations.scrape + Configurations.polledOnce + """
                other_scrape_endpoints = ["https://localhost:1/wrong"]
                proxy_url = "http://127.0.0.1:\(forward.port)"
                [[poll_external.targets]]
                url = "http://localhost:1/missing"
                proxy_url = "http://127.0.0.1:\(port)"
                """
        try await withProxy(config) { proxy in
            try await waitUntilReady(proxy)
            let apps = try await curl("http://\(proxy.scrape)/apps?format=json").body
            let refused = "proxy_url: http://127.0.0.1:\(forward.port): status 407 Proxy Authentication Required"
            #expect(apps.contains(refused), "\(apps)")
            #expect(apps.contains("proxy_url: http://127.0.0.1:\(port): connection refused"), "\(apps)")
        }
    }
}

/// An HTTP proxy that insists on the user `proxy@user` and the password `p:w`, while a test runs.
private struct ForwardProxy {
    let port: String
    /// Method, target and `Proxy-Authorization` of each request that was let through.
    let requests: () -> [String]
}

private func withForwardProxy(_ body: (ForwardProxy) async throws -> Void) async throws {
    let script = """
        import base64, http.client, http.server, select, socket, urllib.parse
        PASSWORD = "Basic " + base64.b64encode(b"proxy@user:p:w").decode()

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def is_allowed(self):
                if self.headers["Proxy-Authorization"] == PASSWORD:
                    print(self.command, self.path, self.headers["Proxy-Authorization"], flush=True)
                    return True
                self.send_response(407)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return False

            def do_GET(self):
                if not self.is_allowed():
                    return
                url = urllib.parse.urlsplit(self.path)
                connection = http.client.HTTPConnection(url.hostname, url.port)
                headers = {name: value for name, value in self.headers.items() if name.lower() != "proxy-authorization"}
                connection.request("GET", url.path, headers=headers)
                response = connection.getresponse()
                data = response.read()
                self.send_response(response.status)
                self.send_header("Content-Type", "text/plain")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def do_CONNECT(self):
                if not self.is_allowed():
                    return
                host, port = self.path.rsplit(":", 1)
                with socket.create_connection((host, int(port))) as far:
                    self.send_response(200, "Connection established")
                    self.end_headers()
                    ends = {self.connection: far, far: self.connection}
                    while True:
                        for end in select.select(list(ends), [], [])[0]:
                            data = end.recv(65536)
                            if not data:
                                self.close_connection = True
                                return
                            ends[end].sendall(data)

            def log_message(self, *arguments):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        print(server.server_port, flush=True)
        server.serve_forever()
        """
    try await withProgram(Tools.python, ["-u", "-c", script]) { program in
        let lines = { String(decoding: program.outputBytes, as: UTF8.self).split(separator: "\n").map(String.init) }
        let port = try await wait(for: "the port of the forward proxy") {
            program.outputBytes.contains(UInt8(ascii: "\n")) ? lines().first : nil
        }
        try await body(ForwardProxy(port: port, requests: { Array(lines().dropFirst()) }))
    }
}
