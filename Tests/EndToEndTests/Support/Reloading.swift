import Foundation
import TestSupport

extension ProxyProcess {
    /// How many reloads have ended so far, successfully or not, those included that found no changes.
    var reloads: Int { ends.count }

    /// For each reload so far, whether it found a file without keys: a slow writer has only truncated it then.
    private var ends: [Bool] {
        let words = ["configuration reloaded", "configuration not reloaded", "configuration read again: no changes"]
        let lines = log.split(separator: "\n", omittingEmptySubsequences: false).dropLast()
        return zip([""] + lines, lines).compactMap { before, line in
            words.contains { line.contains($0) } ? before.contains("has no keys") : nil
        }
    }

    /// Does something that must cause a reload, and waits until one has ended.
    func reloading(_ what: String = "a reload", _ change: () async throws -> Void) async throws {
        let before = reloads
        try await change()
        try await wait(for: what) { reloads > before }
    }

    /// Writes config.toml in place, as editors do, and waits for the reload of the whole file.
    func save(_ config: String) async throws {
        let before = reloads
        try writeInPlace("config.toml", config)
        try await wait(for: "a reload") { ends.dropFirst(before).contains(false) }
    }

    /// Writes the same bytes over themselves: at no moment is the file another one.
    func writeAgain(_ name: String) throws {
        let url = URL(fileURLWithPath: folder.path(name))
        let bytes = try Data(contentsOf: url)
        let handle = try FileHandle(forWritingTo: url)
        try handle.write(contentsOf: bytes)
        try handle.close()
    }

    /// Puts another file in its place, in one step: at no moment is there less than one of the two.
    func replaceFile(_ name: String, _ text: String) throws {
        try Data(text.utf8).write(to: URL(fileURLWithPath: folder.path(name)), options: .atomic)
    }

    /// Opens the file, cuts it to nothing, and writes it.
    func writeInPlace(_ name: String, _ text: String) throws {
        let handle = try FileHandle(forWritingTo: URL(fileURLWithPath: folder.path(name)))
        try handle.truncate(atOffset: 0)
        try handle.write(contentsOf: Data(text.utf8))
        try handle.close()
    }
}

/// Runs a shell script in a folder; throws when it fails.
func shell(_ script: String, in folder: String) async throws {
    let result = try await run("sh", ["-ec", script], workingFolder: folder)
    guard result.succeeded else { throw CurlFailed(description: "\(script): \(result.errors)") }
}

/// A TLS connection that Python holds open: one request for each line that the test writes.
struct HeldTLSConnection {
    private let program: RunningProgram
    private let folder: TemporaryFolder

    /// Runs `body` with a connection to the scrape side; the certificate is verified against the development authority.
    /// - Parameter certificate: a PEM file with the client's certificate and key.
    static func with(_ proxy: ProxyProcess, certificate: String? = nil, _ body: (HeldTLSConnection) async throws -> Void) async throws {
        let script = """
            import http.client, os, ssl, sys, time
            context = ssl.create_default_context(cafile="\(proxy.folder.path("held-ca.pem"))")
            \(certificate.map { "context.load_cert_chain(\"\($0)\")" } ?? "")
            connection = http.client.HTTPSConnection("localhost", \(proxy.scrapePort), context=context, timeout=60)
            connection.connect()
            connection.auto_open = False
            count = 0
            while True:
                while not os.path.exists(f"ask{count}"): time.sleep(0.01)
                try:
                    connection.request("GET", "/-/healthy")
                    print(connection.getresponse().read().decode().strip(), flush=True)
                except Exception as error:
                    print("failed", type(error).__name__, flush=True)
                count += 1
            """
        // As it was when the connection was made: tests replace the files.
        try proxy.folder.write("held-ca.pem", [UInt8](Data(contentsOf: URL(fileURLWithPath: proxy.caFile))))
        try await withTemporaryFolder { folder in
            try await withProgram(Tools.python, ["-u", "-c", script], workingFolder: folder.path) { program in
                try await body(HeldTLSConnection(program: program, folder: folder))
            }
        }
    }

    /// Sends the next request; returns the answer's body, or `failed …`.
    func ask() async throws -> String {
        let answers = String(decoding: program.outputBytes, as: UTF8.self).split(separator: "\n").count
        try folder.write("ask\(answers)", "")
        return try await wait(for: "answer \(answers)") {
            let lines = String(decoding: program.outputBytes, as: UTF8.self).split(separator: "\n", omittingEmptySubsequences: false)
                .dropLast()
            return lines.count > answers ? String(lines[answers]) : nil
        }
    }
}
