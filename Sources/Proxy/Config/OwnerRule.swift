/// One rule of `[[receiver.owners]]`: which peers may push the apps that it names. The first rule whose `apps` match an app decides.
public struct OwnerRule: Hashable, Sendable {
    /// The apps that the rule decides; never empty.
    public var apps: [AppPattern]
    /// Users of the process at the other end of a Unix socket.
    public var users: [SystemAccount] = []
    /// Groups of that process, supplementary ones included.
    public var groups: [SystemAccount] = []
    /// Names in a verified client certificate on a TLS listener (subjectAltName), exactly as written.
    public var clientSANs: [String] = []
    /// Users of `[receiver.basic_auth_users]`.
    public var basicAuthUsers: [String] = []

    /// A rule that lets no peer push these apps.
    public init(apps: [AppPattern]) { self.apps = apps }

    /// Whether the rule decides `app`.
    public func decides(_ app: AppName) -> Bool { apps.contains { $0.matches(app) } }
}

/// A user or a group, as configured. It is looked up when the configuration takes effect.
public enum SystemAccount: Hashable, Sendable, CustomStringConvertible {
    case name(String)
    case id(UInt32)

    /// As in the configuration.
    public var description: String {
        switch self {
        case .name(let name): name
        case .id(let id): "\(id)"
        }
    }
}

/// The names of apps that a rule decides: `*` matches any characters, also none; every other byte matches itself.
public struct AppPattern: Hashable, Sendable, CustomStringConvertible {
    /// As in the configuration.
    public let description: String
    /// The parts between the stars; at least one, and none contains a star.
    private let parts: [[UInt8]]

    /// Makes a pattern; every text is valid.
    public init(_ text: String) {
        description = text
        parts = text.utf8.split(separator: UInt8(ascii: "*"), omittingEmptySubsequences: false).map(Array.init)
    }

    /// Whether the whole of `app` matches the pattern. The time is at most proportional to the product of both lengths.
    public func matches(_ app: AppName) -> Bool {
        let name = Array(app.description.utf8)
        guard parts.count > 1 else { return parts[0] == name }
        let (first, last) = (parts[0], parts[parts.count - 1])
        guard first.count + last.count <= name.count, name.starts(with: first), name.suffix(last.count).elementsEqual(last) else {
            return false
        }
        // The earliest match for each part in the middle leaves the most room for the next one.
        var rest = name[first.count..<(name.count - last.count)]
        for part in parts[1..<(parts.count - 1)] where !part.isEmpty {
            guard let found = rest.firstRange(of: part) else { return false }
            rest = rest[found.upperBound...]
        }
        return true
    }
}
