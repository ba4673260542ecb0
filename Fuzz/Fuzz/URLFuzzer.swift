import Proxy

/// A URL that is taken has a normal form that is taken as the same.
enum URLFuzzer {
    static func run(_ text: String) {
        do throws(TargetURL.Malformed) {
            let written = try TargetURL.parse(text)
            let normal = written.url.description
            precondition(!normal.utf8.contains { $0 <= 0x20 || $0 == 0x7F }, normal)
            do throws(TargetURL.Malformed) {
                let again = try TargetURL.parse(normal)
                precondition(again.url == written.url && again.userInfo == nil, "\(text): \(normal)")
            } catch {
                preconditionFailure("\(text): \(normal): \(error.reason)")
            }
        } catch {
            precondition(!error.reason.isEmpty)
        }
    }
}
