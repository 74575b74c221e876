/* coir/chan.hpp - coir/chan.h for C++: channels of any type.
 * SPDX-License-Identifier: MIT */
#ifndef COIR_CHAN_HPP
#define COIR_CHAN_HPP

#include <coir/time.hpp>

#include <cstddef>
#include <iterator>
#include <memory>
#include <new>
#include <optional>
#include <type_traits>
#include <utility>

namespace coir
{

/* A coir_chan of any movable type. What nobody has received is destroyed with it. */
template <typename Value> class channel
{
  public:
    /* Room for so many; 0: sender and receiver meet. */
    explicit channel(size_t capacity = 0) : chan_(coir_chan_new(sizeof(slot), capacity))
    {
        if (!chan_)
            throw std::bad_alloc();
        if constexpr (!in_place)
            coir_chan_on_drop(chan_.get(), drop);
    }

    /* False when it is closed: nobody gets the value then. */
    bool send(Value value)
    {
        if constexpr (in_place)
            return sent(coir_chan_send(chan_.get(), &value), EPIPE);
        else
            return send_boxed(std::make_unique<Value>(std::move(value)));
    }
    /* The same without waiting; false also when it would have to, and then value is as before. */
    bool try_send(Value &&value)
    {
        if constexpr (in_place) {
            return try_sent(coir_chan_trysend(chan_.get(), &value));
        } else {
            auto box = std::make_unique<Value>(std::move(value));
            Value *pointer = box.get();
            if (try_sent(coir_chan_trysend(chan_.get(), &pointer))) {
                (void)box.release();
                return true;
            }
            value = std::move(*box);
            return false;
        }
    }
    /* The oldest; nothing when the channel is closed and empty. */
    std::optional<Value> recv()
    {
        buffer b;
        if (!sent(coir_chan_recv(chan_.get(), b.at()), EPIPE))
            return std::nullopt;
        return b.take();
    }
    /* The same without waiting; nothing also when there is none yet. */
    std::optional<Value> try_recv()
    {
        buffer b;
        if (!try_sent(coir_chan_tryrecv(chan_.get(), b.at())))
            return std::nullopt;
        return b.take();
    }
    void close() noexcept
    {
        coir_chan_close(chan_.get());
    }
    size_t size() const noexcept
    {
        return coir_chan_len(chan_.get());
    }
    /* Its elements are Value where that is trivially copyable, else Value * from new. */
    coir_chan *native_handle() const noexcept
    {
        return chan_.get();
    }

    /* for (Value &v : channel): until it is closed. */
    class iterator
    {
      public:
        using iterator_category = std::input_iterator_tag;
        using value_type = Value;
        using difference_type = std::ptrdiff_t;
        using pointer = Value *;
        using reference = Value &;

        explicit iterator(channel *from) : from_(from)
        {
            ++*this;
        }
        iterator() noexcept = default;
        Value &operator*()
        {
            return *value_;
        }
        iterator &operator++()
        {
            value_ = from_->recv();
            return *this;
        }
        bool operator!=(const iterator &) const noexcept
        {
            return value_.has_value();
        }

      private:
        channel *from_ = nullptr;
        std::optional<Value> value_;
    };
    iterator begin()
    {
        return iterator(this);
    }
    iterator end() noexcept
    {
        return iterator();
    }

  private:
    static constexpr bool in_place = std::is_trivially_copyable_v<Value>;
    using slot = std::conditional_t<in_place, Value, Value *>;

    struct buffer {
        alignas(slot) unsigned char bytes[sizeof(slot)];

        void *at() noexcept
        {
            return bytes;
        }
        std::optional<Value> take()
        {
            slot *s = std::launder(reinterpret_cast<slot *>(bytes));
            if constexpr (in_place) {
                return *s;
            } else {
                std::unique_ptr<Value> box(*s);
                return std::move(*box);
            }
        }
    };
    struct deleter {
        void operator()(coir_chan *chan) const noexcept
        {
            coir_chan_free(chan);
        }
    };

    static void drop(void *elem) noexcept
    {
        delete *static_cast<Value **>(elem);
    }
    static bool sent(int result, int no)
    {
        if (result < 0 && errno != no)
            throw_errno("coir::channel");
        return result == 0;
    }
    static bool try_sent(int result)
    {
        return !(result < 0 && errno == EPIPE) && sent(result, EAGAIN);
    }
    bool send_boxed(std::unique_ptr<Value> box)
    {
        Value *pointer = box.get();
        bool gone = sent(coir_chan_send(chan_.get(), &pointer), EPIPE);
        if (gone)
            (void)box.release();
        return gone;
    }

    std::unique_ptr<coir_chan, deleter> chan_;
};

} // namespace coir

#endif
