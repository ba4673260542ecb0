import Exposition

/// Any text is valid or has errors at places that are in the text, and every way of checking it has the same result.
enum ExpositionFuzzer {
    static func run(_ text: UnsafeRawBufferPointer) {
        let error = Validator().firstError(in: text)
        let survey = Survey(of: text)
        precondition(survey.findings.firstError == error, "\(survey.findings)")
        precondition(survey.findings.kept.count == min(survey.findings.count, Findings.limit))
        let lines = text.count { $0 == UInt8(ascii: "\n") } + 1
        for finding in survey.findings.kept {
            precondition((1...lines).contains(finding.line) && (1...text.count + 1).contains(finding.column), "\(finding)")
            precondition(!finding.message.unicodeScalars.contains { $0.value < 0x20 }, finding.message)
        }
        if !text.contains(0), String(validating: text, as: UTF8.self) != nil {
            precondition(Validator(isKnownUTF8: true).firstError(in: text) == error)
        }
        // A missing newline at the end, and a valid line before, change nothing but lines. One more blank line could be one too many.
        let newline = UInt8(ascii: "\n")
        let copy = Array("# HELP a b\n".utf8) + text + (text.last == newline ? [] : [newline])
        let shifted = copy.withUnsafeBytes { Validator().firstError(in: $0) }
        precondition(shifted.map(\.line) == error.map { $0.line + 1 } || error?.message.hasPrefix("byte order mark") == true)
    }
}

/// Labels are added to valid texts alone; the result is valid, and without them it is the text.
enum LabelsFuzzer {
    private static let names = ["app", "exported_app", "a", "_"]

    static func run(_ input: UnsafeRawBufferPointer) {
        guard let first = input.first else { return }
        // The first byte says which labels are added.
        let added = AddedLabels(
            names.enumerated().filter { first & UInt8(1 << $0.offset) != 0 }.map { AddedLabels.Label(name: $0.element, value: "v\"\\\n") })
        let text = Array(input.dropFirst()) + [UInt8(ascii: "\n")]
        text.withUnsafeBytes { text in
            let error = Validator().firstError(in: text)
            do throws(Finding) {
                let labelling = try Labelling(of: text, adding: added)
                precondition(error == nil)
                var result = [UInt8](repeating: 0, count: labelling.size)
                result.withUnsafeMutableBytes { labelling.write(text, to: $0) }
                precondition(result.withUnsafeBytes { Validator().firstError(in: $0) } == nil)
                precondition(result.withUnsafeBytes { Survey(of: $0).samples } == labelling.samples)
                precondition(isMade(result, of: text, by: added), String(decoding: result, as: UTF8.self))
            } catch {
                precondition(Validator().firstError(in: text) == error)
            }
        }
    }

    private static func isMade(_ result: [UInt8], of text: UnsafeRawBufferPointer, by added: AddedLabels) -> Bool {
        let labels = added.labels.map { "\($0.name)=\"v\\\"\\\\\\n\"" }.joined(separator: ",")
        let words = [",\(labels)", "{\(labels)}", labels, "exported_"].filter { $0.count > 2 }
        var index = 0
        var rest = result[...]
        while let byte = rest.first {
            if index < text.count, text[index] == byte {
                index += 1
                rest = rest.dropFirst()
            } else if let word = words.first(where: { rest.starts(with: $0.utf8) }) {
                rest = rest.dropFirst(word.utf8.count)
            } else {
                return false
            }
        }
        return index == text.count
    }
}
