import Proxy
import TLS

extension TLSContext {
    /// What is wrong with the chain of certificates and stops nothing: peers refuse it, now or one day.
    /// - Parameter now: what is judged by.
    func problemsOfChain(at now: Timestamp) -> [String] {
        var problems: [String] = []
        for (index, certificate) in chain.enumerated() {
            let which = index == 0 ? "the certificate" : "certificate \(index + 1) of the chain"
            if certificate.notAfter <= now.seconds {
                problems.append("\(which) has expired on \(dateText(certificate.notAfter)): peers refuse it")
            } else if certificate.notBefore > now.seconds {
                problems.append("\(which) is not valid before \(dateText(certificate.notBefore)): peers refuse it")
            }
        }
        if let brokenLink {
            problems.append(
                "certificate \(brokenLink + 1) of the file did not sign certificate \(brokenLink): the chain is broken or in the wrong order"
            )
        }
        return problems
    }
}

/// `2026-11-24T21:00:00Z`, cut to what a `Timestamp` reaches.
func dateText(_ epochSeconds: Int64) -> String {
    let limit = Int64.max / 1_000_000_000
    return Timestamp(nanoseconds: min(max(epochSeconds, -limit), limit) * 1_000_000_000).rfc3339
}

extension Timestamp {
    /// Whole seconds since 1970-01-01 UTC.
    var seconds: Int64 { nanoseconds / 1_000_000_000 }
}
