import Foundation
import TestSupport

/// A running Prometheus.
struct Prometheus {
    var address: String

    /// The value of the one series that the expression gives; `nil` when there is none, or Prometheus is not up yet.
    func query(_ expression: String) async throws -> String? {
        let result = try await runCurl(["--get", "--data-urlencode", "query=\(expression)", "http://\(address)/api/v1/query"])
        guard result.succeeded, let answer = try? JSONDecoder().decode(QueryAnswer.self, from: Data(result.outputBytes)) else { return nil }
        return answer.data.result.first?.value.last?.text
    }
}

struct PrometheusFailed: Error, CustomStringConvertible {
    var description: String
}

/// The part of Prometheus's answer to an instant query that is read here.
private struct QueryAnswer: Decodable {
    struct Contents: Decodable { var result: [Series] }
    struct Series: Decodable { var value: [TimeOrText] }
    struct TimeOrText: Decodable {
        /// `nil` for the time.
        var text: String?
        init(from decoder: any Decoder) throws {
            text = try? decoder.singleValueContainer().decode(String.self)
        }
    }
    var data: Contents
}

/// Runs Prometheus with its data in the folder, on a port of its own.
func withPrometheus(_ config: String, folder: TemporaryFolder, _ body: (Prometheus) async throws -> Void) async throws {
    try folder.write("prometheus.yml", config)
    // Prometheus cannot say which port it got for 0, so one is picked for it.
    let port = try reservePort()
    let address = "127.0.0.1:\(port)"
    let arguments = [
        "--config.file", folder.path("prometheus.yml"), "--storage.tsdb.path", folder.path("data"), "--web.listen-address", address,
    ]
    try await withProgram(Tools.prometheus, arguments) { program in
        do {
            try await body(Prometheus(address: address))
        } catch {
            throw PrometheusFailed(description: "\(error); Prometheus's log:\n\(program.errors)")
        }
    }
}
