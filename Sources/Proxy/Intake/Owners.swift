/// Decides which senders may use which app names, by the rules of `[[receiver.owners]]`. Accounts are resolved to numbers.
public struct Owners: Sendable {
    /// No rules: every sender may use every name.
    public static let none = Owners()

    /// A user or group that a rule names and the system does not know, or could not tell.
    public struct UnknownAccount: Sendable {
        /// The rule, counted from 0.
        public let rule: Int
        /// Whether it is one of the rule's groups.
        public let isGroup: Bool
        /// Which of the rule's users or groups it is, counted from 0.
        public let index: Int
        /// What is wrong with it.
        public let reason: String
    }

    /// Every account that cannot be looked up.
    public struct UnknownAccounts: Error, Sendable {
        /// In the order of the rules; never empty.
        public let accounts: [UnknownAccount]
    }

    fileprivate struct Rule: Sendable {
        let rule: OwnerRule
        let users: Set<UInt32>
        let groups: Set<UInt32>
    }

    private let rules: [Rule]

    private init() { rules = [] }

    /// Looks up the accounts.
    /// - Parameters:
    ///   - user: the number of a user's name. What it throws is described in the problem.
    ///   - group: the number of a group's name.
    /// - Throws: every account that cannot be looked up.
    public init<Failure: Error>(
        _ rules: [OwnerRule], user: (String) throws(Failure) -> UInt32, group: (String) throws(Failure) -> UInt32
    ) throws(UnknownAccounts) {
        var unknown: [UnknownAccount] = []
        func numbers(
            of accounts: [SystemAccount], ofRule rule: Int, isGroup: Bool, _ lookUp: (String) throws(Failure) -> UInt32
        ) -> Set<UInt32> {
            var numbers: Set<UInt32> = []
            for (index, account) in accounts.enumerated() {
                switch account {
                case .id(let id): numbers.insert(id)
                case .name(let name):
                    do throws(Failure) {
                        numbers.insert(try lookUp(name))
                    } catch {
                        unknown.append(UnknownAccount(rule: rule, isGroup: isGroup, index: index, reason: "\(error)"))
                    }
                }
            }
            return numbers
        }
        self.rules = rules.enumerated().map { index, rule in
            Rule(
                rule: rule, users: numbers(of: rule.users, ofRule: index, isGroup: false, user),
                groups: numbers(of: rule.groups, ofRule: index, isGroup: true, group))
        }
        guard unknown.isEmpty else { throw UnknownAccounts(accounts: unknown) }
    }

    /// Whether there are no rules.
    var isEmpty: Bool { rules.isEmpty }

    /// Why `sender` may not push or delete `app`; `nil` when it may.
    func rejection(of app: AppName, from sender: Sender) -> Rejection? {
        guard let rule = rules.first(where: { $0.rule.decides(app) }), !rule.admits(sender) else { return nil }
        return .notOwner(app: app.description, owners: rule.owners)
    }
}

extension Owners.Rule {
    fileprivate func admits(_ sender: Sender) -> Bool {
        if case .process(let process) = sender.peer {
            if users.contains(process.user) || groups.contains(process.group) { return true }
            if !groups.isDisjoint(with: process.supplementaryGroups) { return true }
        }
        if sender.certificateNames.contains(where: rule.clientSANs.contains) { return true }
        return sender.user.map(rule.basicAuthUsers.contains) ?? false
    }

    /// For messages: `user backup, group adm or client certificate backup.example`.
    fileprivate var owners: String {
        let names =
            rule.users.map { "user \($0)" } + rule.groups.map { "group \($0)" }
            + rule.clientSANs.map { "client certificate \($0)" } + rule.basicAuthUsers.map { "basic auth user \($0)" }
        guard let last = names.last else { return "no peer" }
        return names.count == 1 ? last : names.dropLast().joined(separator: ", ") + " or " + last
    }
}
