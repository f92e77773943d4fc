"""On one host; tests/slimzoo/commands/test_multi_worker.py has several."""

import tensorflow as tf

from training.hosts.agreement import Agreement


def test_a_single_host_agrees_with_itself_at_once():
    for agreement in (Agreement(), Agreement(tf.distribute.OneDeviceStrategy("CPU:0"))):
        assert not agreement.is_needed
        assert agreement.wishes(True, False) is None  # nothing is sent
        agreement.learn(1, {})
        assert agreement.on(True, False) == (True, False)
        agreement.saved(1)
        assert agreement.on(False, True) == (False, True)
        agreement.wait()


class SeveralHosts(Agreement):
    """As if there were others, whose wishes come with the outcomes."""

    def __init__(self):
        super().__init__()
        self._strategy = tf.distribute.get_strategy()


def wished(stop, save):
    return {"wishes": tf.constant([float(stop), float(save)])}


def test_several_hosts_do_what_one_of_them_wished_once_all_know_it():
    agreement = SeveralHosts()
    assert agreement.wishes(True, False).numpy().tolist() == [1, 0]
    assert agreement.on(True, True) == (False, False)  # the others have not heard of it
    agreement.learn(1, wished(False, True))
    assert agreement.on(False, False) == (False, True)
    agreement.learn(2, wished(True, False))
    assert agreement.on(False, False) == (True, True)


def test_a_wish_to_save_is_fulfilled_by_a_later_save():
    agreement = SeveralHosts()
    agreement.learn(1, wished(False, True))
    agreement.saved(3)
    assert agreement.on(False, False) == (False, False)
    agreement.learn(3, wished(False, True))  # from before the save, looked at only now
    assert agreement.on(False, False) == (False, False)
    agreement.learn(4, wished(False, True))
    assert agreement.on(False, False) == (False, True)


def test_several_devices_of_one_process_are_not_several_hosts():
    assert not Agreement(tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])).is_needed
