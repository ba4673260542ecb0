import Exposition
import Proxy
import Pushgateway

/// Any path names no group, or one whose name is the name of an app.
enum GroupPathFuzzer {
    static func run(_ path: String) {
        guard let key = try? GroupingKey(path: path) else { return }
        precondition(!key.job.isEmpty && AppName(key.name) != nil, key.name)
        precondition(key.labels.map(\.name) == key.labels.map(\.name).sorted() && Set(key.labels.map(\.name)).count == key.labels.count)
    }
}

/// Any body is refused, or makes a group whose text Prometheus reads, and that is the same group when it is read again.
enum FamiliesFuzzer {
    static func run(_ input: UnsafeRawBufferPointer, isProtobuf: Bool) {
        // The receiver refuses other text before it is read.
        guard isProtobuf || (!input.contains(0) && String(validating: input, as: UTF8.self) != nil) else { return }
        do throws(FamilyFault) {
            let families = isProtobuf ? try ProtobufFamilies.read(input) : try TextFamilies.read(input)
            guard let key = try? GroupingKey(path: "job/j/a/1") else { return }
            let group = try PushGroup(key).pushed(families, replacing: false, at: 1.5)
            let text = group.text
            text.withUnsafeBytes { bytes in
                precondition(Validator().firstError(in: bytes) == nil, String(decoding: bytes, as: UTF8.self))
                precondition(PushGroup(key, text: bytes).text == text, String(decoding: bytes, as: UTF8.self))
            }
            // What was pushed once can be pushed again.
            let again = try group.pushed(families, replacing: false, at: 1.5)
            precondition(again.text == text)
        } catch {
            precondition(!error.description.isEmpty)
        }
    }
}
