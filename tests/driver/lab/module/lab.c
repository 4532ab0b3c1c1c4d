/*
 * SPDX-FileCopyrightText: 2026 The hv-kvp-daemon authors
 * SPDX-License-Identifier: GPL-2.0-only
 */

/*
 * A host in a box: gives the kernel's own KVP driver (hv_kvp.c and
 * hv_utils_transport.c, unmodified) a VMBus channel whose far end is
 * /dev/hvlab.  What is written there arrives at the driver as a host packet;
 * what the driver sends to the host is read back from it.
 *
 * /dev/hvlab-control does to the driver what the VMBus core does to it while
 * the module stays loaded.  Write one of
 *
 *	unbind	 as hv_util's remove: the driver's deinit, then the channel closes
 *	bind	 as its probe
 *	suspend	 as before hibernation
 *	resume	 as after it
 *
 * and read the state: bound, unbinding, unbound or suspended.
 */
#include <linux/module.h>
#include <linux/miscdevice.h>
#include <linux/poll.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/workqueue.h>
#include <linux/delay.h>
#define LAB_ITSELF
#include "hyperv_vmbus.h"

struct packet {
	struct list_head node;
	u64 id;
	u32 len;
	u8 data[];
};

static LIST_HEAD(to_guest);
static LIST_HEAD(to_host);
static DEFINE_SPINLOCK(lock);		/* both lists */
static DECLARE_WAIT_QUEUE_HEAD(host_wait);
static struct vmbus_channel *channel;
static struct hv_util_service service;
static u64 next_id = 1;

static unsigned int slow_ms;
module_param(slow_ms, uint, 0444);
MODULE_PARM_DESC(slow_ms, "milliseconds between each registration of the driver and its next step");

int lab_misc_register(struct miscdevice *misc)
{
	int ret = misc_register(misc);

	if (slow_ms)
		msleep(slow_ms);
	return ret;
}

int lab_cn_add_callback(const struct cb_id *id, const char *name,
			void (*callback)(struct cn_msg *,
					 struct netlink_skb_parms *))
{
	int ret = cn_add_callback(id, name, callback);

	if (slow_ms)
		msleep(slow_ms);
	return ret;
}

static DEFINE_MUTEX(state_lock);
static enum { UNBOUND, BOUND, UNBINDING, SUSPENDED } state;
static const char * const state_names[] = {
	[UNBOUND] = "unbound\n",
	[BOUND] = "bound\n",
	[UNBINDING] = "unbinding\n",
	[SUSPENDED] = "suspended\n",
};

static struct packet *packet_new(const void *data, u32 len, gfp_t gfp)
{
	struct packet *p = kmalloc(sizeof(*p) + len, gfp);

	if (p) {
		p->len = len;
		if (data)
			memcpy(p->data, data, len);
	}
	return p;
}

static struct packet *pop(struct list_head *q)
{
	struct packet *p;
	unsigned long flags;

	spin_lock_irqsave(&lock, flags);
	p = list_first_entry_or_null(q, struct packet, node);
	if (p)
		list_del(&p->node);
	spin_unlock_irqrestore(&lock, flags);
	return p;
}

static void push(struct list_head *q, struct packet *p)
{
	unsigned long flags;

	spin_lock_irqsave(&lock, flags);
	list_add_tail(&p->node, q);
	spin_unlock_irqrestore(&lock, flags);
}

/* What the driver calls. */

int vmbus_recvpacket(struct vmbus_channel *ch, void *buffer, u32 bufferlen,
		     u32 *actual, u64 *requestid)
{
	struct packet *p = pop(&to_guest);

	*actual = 0;
	*requestid = 0;
	if (!p)
		return 0;
	if (p->len > bufferlen) {
		kfree(p);
		return -ENOBUFS;
	}
	memcpy(buffer, p->data, p->len);
	*actual = p->len;
	*requestid = p->id;
	kfree(p);
	return 0;
}

int vmbus_sendpacket(struct vmbus_channel *ch, void *buffer, u32 len,
		     u64 requestid, enum vmbus_packet_type type, u32 flags)
{
	struct packet *p = packet_new(buffer, len, GFP_ATOMIC);

	if (!p)
		return -ENOMEM;
	p->id = requestid;
	push(&to_host, p);
	wake_up_interruptible(&host_wait);
	return 0;
}

bool vmbus_prep_negotiate_resp(struct icmsg_hdr *hdr, u8 *buf, u32 buflen,
			       const int *fw, int fw_count, const int *srv,
			       int srv_count, int *fw_out, int *srv_out)
{
	if (fw_out)
		*fw_out = fw[0];
	if (srv_out)
		*srv_out = srv[0];
	return true;
}

/* The channel and the driver's life on it. */

static void deliver(unsigned long data)
{
	struct vmbus_channel *ch = (struct vmbus_channel *)data;

	if (ch->onchannel_callback)
		ch->onchannel_callback(ch);
}

static void channel_open(void)
{
	channel->onchannel_callback = hv_kvp_onchannelcallback;
}

/* A closed channel's rings are gone, and what stood in them. */
static void channel_close(void)
{
	struct packet *p;

	channel->onchannel_callback = NULL;
	tasklet_kill(&channel->callback_event);
	while ((p = pop(&to_guest)))
		kfree(p);
	while ((p = pop(&to_host)))
		kfree(p);
}

static int driver_bind(void)
{
	int ret = hv_kvp_init(&service);

	if (ret)
		return ret;
	channel_open();
	ret = hv_kvp_init_transport();
	if (ret)
		channel_close();
	else
		state = BOUND;
	return ret;
}

/*
 * The driver's deinit waits until the daemon has closed its device.  On a
 * workqueue, so that who asked for it is not held up and can watch.
 */
static void unbind_work_fn(struct work_struct *work)
{
	hv_kvp_deinit();
	mutex_lock(&state_lock);
	channel_close();
	state = UNBOUND;
	mutex_unlock(&state_lock);
}
static DECLARE_WORK(unbind_work, unbind_work_fn);

static int control(const char *word)
{
	if (sysfs_streq(word, "bind"))
		return state == UNBOUND ? driver_bind() : -EBUSY;
	if (sysfs_streq(word, "unbind")) {
		if (state != BOUND)
			return -EBUSY;
		state = UNBINDING;
		schedule_work(&unbind_work);
		return 0;
	}
	if (sysfs_streq(word, "suspend")) {
		if (state != BOUND)
			return -EBUSY;
		hv_kvp_pre_suspend();
		channel->onchannel_callback = NULL;
		state = SUSPENDED;
		return 0;
	}
	if (sysfs_streq(word, "resume")) {
		if (state != SUSPENDED)
			return -EBUSY;
		hv_kvp_pre_resume();
		channel_close();
		channel_open();
		state = BOUND;
		return 0;
	}
	return -EINVAL;
}

static ssize_t control_write(struct file *f, const char __user *buf, size_t n,
			     loff_t *pos)
{
	char word[16] = "";
	int ret;

	if (n >= sizeof(word))
		return -EINVAL;
	if (copy_from_user(word, buf, n))
		return -EFAULT;
	mutex_lock(&state_lock);
	ret = control(word);
	mutex_unlock(&state_lock);
	return ret ? ret : n;
}

static ssize_t control_read(struct file *f, char __user *buf, size_t n,
			    loff_t *pos)
{
	const char *name = state_names[READ_ONCE(state)];

	return simple_read_from_buffer(buf, n, pos, name, strlen(name));
}

static const struct file_operations control_fops = {
	.owner = THIS_MODULE,
	.write = control_write,
	.read = control_read,
};

static struct miscdevice control_dev = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "hvlab-control",
	.fops = &control_fops,
};

/* The host's side. */

static ssize_t lab_write(struct file *f, const char __user *buf, size_t n,
			 loff_t *pos)
{
	struct packet *p;

	if (!n || n > HV_HYP_PAGE_SIZE * 8)
		return -EINVAL;
	p = packet_new(NULL, n, GFP_KERNEL);
	if (!p)
		return -ENOMEM;
	if (copy_from_user(p->data, buf, n)) {
		kfree(p);
		return -EFAULT;
	}
	mutex_lock(&state_lock);
	if (!channel->onchannel_callback) {
		mutex_unlock(&state_lock);
		kfree(p);
		return -ENODEV;
	}
	p->id = next_id++;
	push(&to_guest, p);
	tasklet_schedule(&channel->callback_event);
	mutex_unlock(&state_lock);
	return n;
}

static ssize_t lab_read(struct file *f, char __user *buf, size_t n, loff_t *pos)
{
	struct packet *p;
	ssize_t ret;

	while (!(p = pop(&to_host))) {
		if (f->f_flags & O_NONBLOCK)
			return -EAGAIN;
		if (wait_event_interruptible(host_wait, !list_empty(&to_host)))
			return -EINTR;
	}
	ret = min_t(size_t, n, p->len);
	if (copy_to_user(buf, p->data, ret))
		ret = -EFAULT;
	kfree(p);
	return ret;
}

static __poll_t lab_poll(struct file *f, poll_table *wait)
{
	poll_wait(f, &host_wait, wait);
	return EPOLLOUT | (list_empty(&to_host) ? 0 : EPOLLIN | EPOLLRDNORM);
}

static const struct file_operations lab_fops = {
	.owner = THIS_MODULE,
	.write = lab_write,
	.read = lab_read,
	.poll = lab_poll,
};

static struct miscdevice lab_dev = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "hvlab",
	.fops = &lab_fops,
};

static int __init lab_init(void)
{
	int ret = -ENOMEM;

	channel = kzalloc(sizeof(*channel), GFP_KERNEL);
	service.recv_buffer = kzalloc(HV_HYP_PAGE_SIZE * 4, GFP_KERNEL);
	if (!channel || !service.recv_buffer)
		goto free;
	service.channel = channel;
	tasklet_init(&channel->callback_event, deliver, (unsigned long)channel);
	ret = misc_register(&lab_dev);
	if (ret)
		goto free;
	ret = misc_register(&control_dev);
	if (ret)
		goto lab;
	mutex_lock(&state_lock);
	ret = driver_bind();
	mutex_unlock(&state_lock);
	if (!ret)
		return 0;
	misc_deregister(&control_dev);
lab:
	misc_deregister(&lab_dev);
free:
	kfree(service.recv_buffer);
	kfree(channel);
	return ret;
}

static void __exit lab_exit(void)
{
	misc_deregister(&control_dev);
	misc_deregister(&lab_dev);
	flush_work(&unbind_work);
	if (state == SUSPENDED)
		control("resume");
	if (state == BOUND)
		unbind_work_fn(NULL);
	kfree(service.recv_buffer);
	kfree(channel);
}

module_init(lab_init);
module_exit(lab_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("The KVP driver with a host in a box");
