import TestSupport

/// Python's own HTTP server, serving a folder.
struct PageServer {
    var port: String
}

/// Runs `python3 -m http.server` in `folder`.
func withPageServer(folder: String, _ body: (PageServer) async throws -> Void) async throws {
    let arguments = ["-u", "-m", "http.server", "--bind", "127.0.0.1", "0"]
    try await serve(arguments, folder: folder, body)
}

/// Serves `folder` over HTTPS with the development server certificate in `certificates`.
func withSecurePageServer(folder: String, certificates: String, allLoopback: Bool = false, _ body: (PageServer) async throws -> Void)
    async throws
{
    let script = """
        import http.server, ssl
        server = http.server.ThreadingHTTPServer(("\(allLoopback ? "0.0.0.0" : "127.0.0.1")", 0), http.server.SimpleHTTPRequestHandler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain("\(certificates)/server.pem", "\(certificates)/server-key.pem")
        server.socket = context.wrap_socket(server.socket, server_side=True)
        print("port", server.server_port, flush=True)
        server.serve_forever()
        """
    try await serve(["-u", "-c", script], folder: folder, body)
}

private func serve(_ arguments: [String], folder: String, _ body: (PageServer) async throws -> Void) async throws {
    try await withProgram(Tools.python, arguments, workingFolder: folder) { program in
        let port = try await wait(for: "the page server's port") {
            // "Serving HTTP on 127.0.0.1 port 40123 (http://127.0.0.1:40123/) ..."
            // Read once: more may come at any moment.
            let output = String(decoding: program.outputBytes, as: UTF8.self)
            let words = output.split(separator: " ")
            return output.contains("\n") ? words.firstIndex(of: "port").map { String(words[$0 + 1].filter(\.isNumber)) } : nil
        }
        try await body(PageServer(port: port))
    }
}
