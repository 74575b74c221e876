/* coir/sync.hpp - coir/sync.h for C++: locks for std::lock_guard and its kin.
 * SPDX-License-Identifier: MIT */
#ifndef COIR_SYNC_HPP
#define COIR_SYNC_HPP

#include <coir/time.hpp>

#include <mutex>
#include <utility>

namespace coir
{

/* A coir_mutex: for std::lock_guard, std::unique_lock and std::scoped_lock. */
class mutex
{
  public:
    constexpr mutex() noexcept = default;
    mutex(const mutex &) = delete;
    mutex &operator=(const mutex &) = delete;

    void lock() noexcept
    {
        coir_mutex_lock(&mutex_);
    }
    bool try_lock() noexcept
    {
        return coir_mutex_trylock(&mutex_) == 0;
    }
    /* False at that time, or at the caller's deadline. Throws when it is cancelled. */
    bool try_lock_until(std::chrono::steady_clock::time_point when)
    {
        return try_lock_by(deadline_ns(when));
    }
    bool try_lock_for(std::chrono::nanoseconds time)
    {
        return try_lock_by(deadline_ns(time));
    }
    void unlock() noexcept
    {
        coir_mutex_unlock(&mutex_);
    }
    coir_mutex *native_handle() noexcept
    {
        return &mutex_;
    }

  private:
    bool try_lock_by(int64_t until_ns)
    {
        int result = coir_mutex_timedlock(&mutex_, until_ns);
        if (result < 0 && errno != ETIMEDOUT)
            throw_errno("coir::mutex::try_lock_until");
        return result == 0;
    }

    coir_mutex mutex_ = COIR_MUTEX_INIT;
};

/* A coir_rwlock: for std::shared_lock and the others. */
class shared_mutex
{
  public:
    constexpr shared_mutex() noexcept = default;
    shared_mutex(const shared_mutex &) = delete;
    shared_mutex &operator=(const shared_mutex &) = delete;

    void lock() noexcept
    {
        coir_rwlock_wrlock(&lock_);
    }
    bool try_lock() noexcept
    {
        return coir_rwlock_trywrlock(&lock_) == 0;
    }
    void unlock() noexcept
    {
        coir_rwlock_unlock(&lock_);
    }
    void lock_shared() noexcept
    {
        coir_rwlock_rdlock(&lock_);
    }
    bool try_lock_shared() noexcept
    {
        return coir_rwlock_tryrdlock(&lock_) == 0;
    }
    void unlock_shared() noexcept
    {
        coir_rwlock_unlock(&lock_);
    }
    coir_rwlock *native_handle() noexcept
    {
        return &lock_;
    }

  private:
    coir_rwlock lock_ = COIR_RWLOCK_INIT;
};

/* A coir_cond. Waits throw at the caller's deadline and cancel, with the mutex locked. */
class condition_variable
{
  public:
    constexpr condition_variable() noexcept = default;
    condition_variable(const condition_variable &) = delete;
    condition_variable &operator=(const condition_variable &) = delete;

    void wait(std::unique_lock<mutex> &lock)
    {
        check(coir_cond_wait(&cond_, lock.mutex()->native_handle()), "coir::condition_variable");
    }
    template <typename Predicate> void wait(std::unique_lock<mutex> &lock, Predicate holds)
    {
        while (!holds())
            wait(lock);
    }
    /* Until the predicate holds, or that time: does it hold? */
    template <typename Predicate>
    bool wait_until(std::unique_lock<mutex> &lock, std::chrono::steady_clock::time_point when,
                    Predicate holds)
    {
        return wait_by(lock, deadline_ns(when), std::move(holds));
    }
    template <typename Predicate>
    bool wait_for(std::unique_lock<mutex> &lock, std::chrono::nanoseconds time, Predicate holds)
    {
        return wait_by(lock, deadline_ns(time), std::move(holds));
    }
    void notify_one() noexcept
    {
        coir_cond_signal(&cond_);
    }
    void notify_all() noexcept
    {
        coir_cond_broadcast(&cond_);
    }

  private:
    template <typename Predicate>
    bool wait_by(std::unique_lock<mutex> &lock, int64_t until_ns, Predicate holds)
    {
        while (!holds()) {
            if (coir_cond_timedwait(&cond_, lock.mutex()->native_handle(), until_ns) == 0)
                continue;
            if (errno != ETIMEDOUT || coir_deadline() < until_ns)
                throw_errno("coir::condition_variable");
            return holds();
        }
        return true;
    }

    coir_cond cond_ = COIR_COND_INIT;
};

} // namespace coir

#endif
