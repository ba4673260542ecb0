import Exposition
import NIOCore

/// What the configuration wants of metrics before they are stored (`[metrics]`, and the labels of targets).
public final class IntakeRules: Sendable {
    /// Whether metrics are checked, and what happens to those that Prometheus would not read.
    public let validation: MetricsValidation
    /// The name of the label that gets the app's name as its value.
    private let appLabel: String?
    private let targets: [TargetURL: TargetRule]

    private struct TargetRule {
        let name: AppName
        let labels: [AddedLabels.Label]
    }

    /// Nothing is looked at.
    public init() {
        validation = .off
        appLabel = nil
        targets = [:]
    }

    /// The rules of a configuration.
    public init(_ config: Config) {
        validation = config.metrics.validate
        appLabel = config.metrics.appLabel
        var targets: [TargetURL: TargetRule] = [:]
        for target in config.poll.targets {
            targets[target.url] = TargetRule(
                name: target.name, labels: target.labels.map { AddedLabels.Label(name: $0.name, value: $0.value) })
        }
        self.targets = targets
    }

    /// Whether pushed metrics are stored as they are.
    var passesPushes: Bool { validation != .refuse && appLabel == nil }

    /// The labels that a pushed app's samples get.
    func labels(of app: AppName) -> [AddedLabels.Label] {
        appLabel.map { [AddedLabels.Label(name: $0, value: app.description)] } ?? []
    }

    /// The labels that a target's samples get.
    func labels(of target: TargetURL) -> [AddedLabels.Label] {
        guard let known = targets[target] else { return [] }
        return labels(of: known.name) + known.labels
    }

    /// The metrics as they are stored.
    /// - Throws: the first error of metrics that are refused. Metrics with an error that are not refused stay as they are.
    func admit(_ exposition: Exposition, with labels: [AddedLabels.Label]) throws(Finding) -> Exposition {
        let refuses = validation == .refuse
        guard refuses || !labels.isEmpty, exposition.size > 0 else { return exposition }
        // What is stored has been found to be UTF-8 without NUL.
        let validator = Validator(isKnownUTF8: true, refusesProxySeries: refuses)
        do throws(Finding) {
            guard !labels.isEmpty else {
                if let error = exposition.buffer.withUnsafeReadableBytes({ validator.firstError(in: $0) }) { throw error }
                return exposition
            }
            return try exposition.labelled(AddedLabels(labels), validator)
        } catch {
            if refuses { throw error }
            return exposition
        }
    }
}

extension Exposition {
    /// The same metrics with these labels on each sample.
    fileprivate func labelled(_ labels: AddedLabels, _ validator: Validator) throws(Finding) -> Exposition {
        var result: Result<Exposition, Finding>?
        buffer.withUnsafeReadableBytes { text in
            result = Result { () throws(Finding) in try Labelling(of: text, adding: labels, with: validator) }
                .map { labelling in
                    guard labelling.samples > 0 else { return self }
                    return Exposition(replacing: self, size: labelling.size) { labelling.write(text, to: $0) }
                }
        }
        return try result?.get() ?? self
    }
}

extension Finding {
    /// Where and what, for one line of text.
    var sentence: String { "line \(line), column \(column): \(message)" }
}
