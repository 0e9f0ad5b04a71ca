// Files: mapped from a folder that may be hostile, or copied from memory.
#include "internal.h"

#include <atomic>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <memory>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct onnx_file {
    const uint8_t *bytes = nullptr;
    size_t size = 0;
    bool is_mapped = false;
    int descriptor = -1; // of a mapped file, as long as there are few
    ~onnx_file();
};

namespace onnx_shim {
namespace {

// Files whose descriptors are kept, in all models of the process. An export with a file for
// each tensor has hundreds, and descriptors are the host's to use.
std::atomic<int> kept_descriptors{0};
constexpr int most_descriptors = 64;

struct Descriptor {
    int value;
    explicit Descriptor(int value) : value(value) {}
    Descriptor(Descriptor &&other) noexcept : value(other.value) { other.value = -1; }
    Descriptor &operator=(Descriptor &&other) noexcept {
        std::swap(value, other.value);
        return *this;
    }
    Descriptor(const Descriptor &) = delete;
    ~Descriptor() {
        if (value >= 0) close(value);
    }
};

[[noreturn]] void fail(const std::string &name, int error) {
    const auto status = error == ENOENT                      ? ONNX_E_NOT_FOUND
                        : error == ENOMEM                    ? ONNX_E_MEMORY
                        : error == ELOOP || error == ENOTDIR ? ONNX_E_FORMAT
                                                             : ONNX_E_IO;
    const std::string reason = error == ELOOP
                                   ? "it is a symbolic link, and links are not allowed here"
                                   : std::strerror(error);
    throw Refusal(status, quoted(name) + " cannot be opened: " + reason);
}

std::vector<std::string> parts_of(const std::string &name) {
    std::vector<std::string> parts;
    size_t begin = 0;
    while (begin <= name.size()) {
        const size_t end = std::min(name.find('/', begin), name.size());
        parts.push_back(name.substr(begin, end - begin));
        begin = end + 1;
    }
    return parts;
}

// True for ../blobs/x, ../../blobs/x and so on: what a model cache links to.
bool leads_to_blobs(const std::string &target) {
    const auto parts = parts_of(target);
    size_t i = 0;
    while (i < parts.size() && parts[i] == "..") ++i;
    return i > 0 && i + 2 == parts.size() && parts[i] == "blobs" && !parts[i + 1].empty() &&
           parts[i + 1] != "." && parts[i + 1] != "..";
}

// Opens `name` beneath `folder`, part by part.
Descriptor open_beneath(int folder, const std::string &name, onnx_links links) {
    const auto parts = parts_of(name);
    for (const auto &part : parts)
        if (part.empty() || part == "..")
            refuse("the file name " + quoted(name) +
                   " is not a path inside the model's folder");
    // O_NONBLOCK: opening a pipe must not wait for its other end.
    const int flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK;
    const int no_link = links == ONNX_LINKS_ANY ? 0 : O_NOFOLLOW;
    Descriptor at(-1);
    int parent = folder;
    for (size_t i = 0; i + 1 < parts.size(); ++i) {
        Descriptor next(openat(parent, parts[i].c_str(), flags | O_DIRECTORY | no_link));
        if (next.value < 0) fail(name, errno);
        at = std::move(next);
        parent = at.value;
    }
    const char *last = parts.back().c_str();
    Descriptor file(openat(parent, last, flags | no_link));
    if (file.value >= 0) return file;
    const int error = errno;
    if (error != ELOOP || links != ONNX_LINKS_BLOBS) fail(name, error);
    char target[1024];
    const ssize_t length = readlinkat(parent, last, target, sizeof target);
    if (length <= 0 || static_cast<size_t>(length) == sizeof target ||
        !leads_to_blobs(std::string(target, static_cast<size_t>(length))))
        refuse(quoted(name) + " is a symbolic link that does not lead to a blobs folder");
    Descriptor blob(openat(parent, std::string(target, static_cast<size_t>(length)).c_str(),
        flags | O_NOFOLLOW));
    if (blob.value < 0) fail(name, errno);
    return blob;
}

} // namespace

std::string quoted(const std::string &name) {
    return "\"" + (name.size() > 120 ? name.substr(0, 117) + "..." : name) + "\"";
}

} // namespace onnx_shim

using namespace onnx_shim;

onnx_file::~onnx_file() {
    if (descriptor >= 0) {
        close(descriptor);
        --kept_descriptors;
    }
    if (is_mapped)
        munmap(const_cast<uint8_t *>(bytes), size);
    else
        delete[] bytes;
}

extern "C" onnx_status onnx_file_map(int folder, const char *name, onnx_links links,
    onnx_file **out, onnx_message *message) {
    return boundary(message, [&] {
        Descriptor file = open_beneath(folder, name, links);
        struct stat about;
        if (fstat(file.value, &about) != 0) fail(name, errno);
        if (!S_ISREG(about.st_mode)) refuse(quoted(name) + " is not a regular file");
        auto mapped = std::make_unique<onnx_file>();
        mapped->size = static_cast<size_t>(about.st_size);
        if (mapped->size > 0) {
            void *bytes =
                mmap(nullptr, mapped->size, PROT_READ, MAP_PRIVATE, file.value, 0);
            if (bytes == MAP_FAILED) fail(name, errno);
            mapped->bytes = static_cast<const uint8_t *>(bytes);
            mapped->is_mapped = true;
            if (++kept_descriptors <= most_descriptors)
                std::swap(mapped->descriptor, file.value);
            else
                --kept_descriptors;
        }
        *out = mapped.release();
    });
}

extern "C" onnx_status onnx_file_copy(
    const void *bytes, size_t count, onnx_file **out, onnx_message *message) {
    return boundary(message, [&] {
        auto copied = std::make_unique<onnx_file>();
        copied->size = count;
        if (count > 0) {
            auto *own = new uint8_t[count];
            copied->bytes = own;
            std::memcpy(own, bytes, count);
        }
        *out = copied.release();
    });
}

extern "C" const uint8_t *onnx_file_bytes(const onnx_file *file) { return file->bytes; }
extern "C" size_t onnx_file_size(const onnx_file *file) { return file->size; }

extern "C" int onnx_file_is_whole(const onnx_file *file) {
    struct stat about;
    return file->descriptor < 0 || (fstat(file->descriptor, &about) == 0 &&
                                       static_cast<size_t>(about.st_size) >= file->size);
}

extern "C" onnx_status onnx_file_read(
    const onnx_file *file, size_t offset, size_t count, void *out, onnx_message *message) {
    return boundary(message, [&] {
        if (offset > file->size || count > file->size - offset)
            refuse("a part of a file lies behind its end");
        if (file->descriptor < 0) {
            std::memcpy(out, file->bytes + offset, count);
            return;
        }
        for (size_t done = 0; done < count;) {
            const ssize_t part = pread(file->descriptor, static_cast<uint8_t *>(out) + done,
                count - done, static_cast<off_t>(offset + done));
            if (part < 0 && errno == EINTR) continue;
            if (part <= 0)
                throw Refusal(ONNX_E_IO,
                    part < 0 ? std::strerror(errno) : "is shorter than when it was opened");
            done += static_cast<size_t>(part);
        }
    });
}

extern "C" void onnx_file_release(const onnx_file *file, size_t offset, size_t count) {
    if (!file->is_mapped || offset > file->size || count > file->size - offset) return;
    const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    const size_t begin = offset / page * page;
    madvise(
        const_cast<uint8_t *>(file->bytes) + begin, offset + count - begin, MADV_DONTNEED);
}

extern "C" void onnx_file_free(onnx_file *file) { delete file; }

extern "C" int onnx_rename(int folder, const char *from, const char *to, int exchanges) {
    const unsigned flags = exchanges ? RENAME_EXCHANGE : RENAME_NOREPLACE;
    return renameat2(folder, from, folder, to, flags) == 0 ? 0 : errno;
}
