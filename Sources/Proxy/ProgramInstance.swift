/// This running program, told apart from every other.
public enum ProgramInstance {
    /// Random, the same until the program ends. Polls carry it, so that a proxy that polls itself, by whatever name or redirect, finds out.
    public static let id = String(UInt64.random(in: .min ... .max), radix: 16)

    /// The field of an answer that lists the instances whose metrics it contains, in lower case.
    public static let listField = "x-exporter-proxy-instances"

    /// Instances taken from one answer at most, and the length of one in bytes.
    static let maxListed = 1024
    static let maxLength = 32

    /// The instances that the value of `listField` names.
    static func list(_ value: String?) -> [String] {
        guard let value else { return [] }
        let items = value.utf8.split { $0 == UInt8(ascii: ",") || $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\t") }
        return items.lazy.filter { $0.count <= maxLength }.prefix(maxListed).map { String($0) ?? "" }
    }
}
